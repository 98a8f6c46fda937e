// Pyodide with numpy and the engine, as fast as it starts: from a memory snapshot where there is one.

import { assets, fetchAsset } from './assets.js';
import { gunzip, untar } from './unpack.js';

const PYODIDE = new URL('../static/pyodide/', import.meta.url).href;
const SITE = '/lib/python3.14/site-packages';
const SNAPSHOT = 'static/pyodide/snapshot.bin.gz';

/** @param {string} path */
const inflated = async (path) => gunzip(await fetchAsset(path));

/**
 * @param {(done: number, total: number, note: string) => void} progress
 * @returns {Promise<any>} Pyodide, with `inglenook` importable
 */
export async function boot(progress) {
  const steps = 4;
  progress(0, steps, 'Fetching Python');
  const snapshot = (await assets()).has(SNAPSHOT) ? inflated(SNAPSHOT) : undefined;
  const archives = [inflated('static/py/numpy.tar.gz'), inflated('static/py/inglenook.tar.gz')];
  const kernel = fetchAsset(`static/kernels/vectors.${relaxed() ? 'relaxed' : 'simd'}.so`);
  for (const early of [snapshot, kernel, ...archives]) early?.catch(() => {}); // awaited below, where errors count
  const { loadPyodide } = await import(`${PYODIDE}pyodide.mjs`);
  progress(1, steps, 'Starting Python');
  const python = await start(loadPyodide, snapshot);
  progress(2, steps, 'Unpacking the engine');
  for (const archive of archives) untar(python.FS, await archive, SITE);
  python.FS.mkdirTree('/lib/inglenook');
  python.FS.writeFile('/lib/inglenook/vectors.so', await kernel);
  python.runPython('import importlib; importlib.invalidate_caches()');
  progress(3, steps, 'Starting the engine');
  python.pyimport('inglenook.platform.browser.engine');
  progress(4, steps, '');
  return python;
}

/**
 * From the snapshot, which is a private interface of Pyodide's: where it fails, the slow way.
 * @param {(options: object) => Promise<any>} loadPyodide @param {Promise<Uint8Array<ArrayBuffer>> | undefined} snapshot
 */
async function start(loadPyodide, snapshot) {
  if (snapshot) {
    try {
      const python = await loadPyodide({ indexURL: PYODIDE, _loadSnapshot: (await snapshot).buffer });
      python.runPython('import random; random.seed()'); // a restored memory repeats its random state
      return python;
    } catch (error) {
      console.warn('Python starts without its snapshot:', error);
    }
  }
  return loadPyodide({ indexURL: PYODIDE });
}

/** Load pypdfium2, which only PDF needs. @param {any} python */
export async function loadPdf(python) {
  if (python.FS.analyzePath(`${SITE}/pypdfium2`).exists) return;
  untar(python.FS, await inflated('static/py/pypdfium2.tar.gz'), SITE);
  python.runPython('import importlib; importlib.invalidate_caches()');
}

/** Whether this browser has relaxed SIMD: validates a module with one `i32x4.relaxed_dot_i8x16_i7x16_add_s`. */
function relaxed() {
  const header = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
  const code = [10, 19, 1, 17, 0, 65, 1, 253, 15, 65, 2, 253, 15, 65, 3, 253, 15, 253, 147, 2, 11];
  return WebAssembly.validate(new Uint8Array([...header, ...code]));
}
