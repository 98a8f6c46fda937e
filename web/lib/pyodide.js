// Pyodide with numpy and the engine, as fast as it starts: from a memory snapshot where there is one.

import { assets, fetchAsset } from './assets.js';

const BASE = new URL('../static/', import.meta.url);
const SITE = '/lib/python3.14/site-packages';

/**
 * @param {(done: number, total: number, note: string) => void} progress
 * @returns {Promise<any>} Pyodide, with `inglenook` importable
 */
export async function boot(progress) {
  const steps = 4;
  progress(0, steps, 'Fetching Python');
  const files = await assets();
  const has = (/** @type {string} */ path) => files.has(path);
  const snapshot = has('static/pyodide/snapshot.bin') ? fetchAsset('static/pyodide/snapshot.bin') : undefined;
  const archives = ['static/py/numpy.zip', 'static/py/inglenook.zip'].map((path) => fetchAsset(path));
  const kernel = fetchAsset(`static/kernels/vectors.${relaxed() ? 'relaxed' : 'simd'}.so`);
  for (const early of [snapshot, kernel, ...archives]) early?.catch(() => {}); // awaited below, where errors count
  const { loadPyodide } = await import(new URL('pyodide/pyodide.mjs', BASE).href);
  progress(1, steps, 'Starting Python');
  const options = { indexURL: new URL('pyodide/', BASE).href };
  const python = await loadPyodide(snapshot ? { ...options, _loadSnapshot: (await snapshot).buffer } : options);
  progress(2, steps, 'Unpacking the engine');
  for (const archive of archives) python.unpackArchive(await archive, 'zip', { extractDir: SITE });
  python.FS.mkdirTree('/lib/inglenook');
  python.FS.writeFile('/lib/inglenook/vectors.so', await kernel);
  if (snapshot) python.runPython('import random; random.seed()'); // a restored memory repeats its random state
  progress(3, steps, 'Starting the engine');
  python.pyimport('inglenook.platform.browser.engine');
  progress(4, steps, '');
  return python;
}

/** Load pypdfium2, which only PDF needs. @param {any} python */
export async function loadPdf(python) {
  python.unpackArchive(await fetchAsset('static/py/pypdfium2.zip'), 'zip', { extractDir: SITE });
}

/** Whether this browser has relaxed SIMD: validates a module with one `i32x4.relaxed_dot_i8x16_i7x16_add_s`. */
function relaxed() {
  const header = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
  const code = [10, 19, 1, 17, 0, 65, 1, 253, 15, 65, 2, 253, 15, 65, 3, 253, 15, 253, 147, 2, 11];
  return WebAssembly.validate(new Uint8Array([...header, ...code]));
}
