// Pyodide with numpy and the engine, as fast as it starts: from a memory snapshot where there is one.

import { BASE } from '../base.js';
import { assets, fetchAsset } from './assets.js';
import { NookError } from './errors.js';
import { libraries, restore } from './snapshot.js';
import { gunzip, inflate, untar } from './unpack.js';

const PYODIDE = new URL('static/pyodide/', BASE).href;
const SITE = '/lib/python3.14/site-packages';
const SNAPSHOT = 'static/pyodide/snapshot.bin.gz';
const NUMPY = 'static/py/numpy.tar.gz';
const ENGINE = 'static/py/inglenook.tar.gz';

/** A restored memory repeats its random state, and its engine may be older than the one that came with it. */
const AWAKE = `
import importlib, random, sys
random.seed()
importlib.invalidate_caches()
if getattr(sys.modules.get("inglenook"), "archive", "") != archive:
    for name in [name for name in sys.modules if name.partition(".")[0] == "inglenook"]:
        del sys.modules[name]
`;

/** @param {string} path */
const inflated = async (path) => gunzip(await fetchAsset(path));

/**
 * @param {(done: number, total: number, note: string) => void} progress
 * @returns {Promise<any>} Pyodide, with `inglenook` importable
 */
export async function boot(progress) {
  const steps = 4;
  progress(0, steps, 'Fetching Python');
  const scripts = Promise.all(['pyodide.mjs', 'pyodide.asm.mjs'].map((name) => import(PYODIDE + name)));
  scripts.catch(() => {});
  const listed = await assets();
  const snapshot = early(listed.get(SNAPSHOT));
  const numpy = inflated(NUMPY);
  const engine = inflated(ENGINE);
  const kernel = fetchAsset(`static/kernels/vectors.${relaxed() ? 'relaxed' : 'simd'}.so`);
  for (const promise of [snapshot?.filled, numpy, engine, kernel]) promise?.catch(() => {}); // awaited where errors count
  progress(1, steps, 'Starting Python');
  const python = await start(await scripts, snapshot, numpy);
  progress(2, steps, 'Unpacking the engine');
  untar(python.FS, await numpy, SITE);
  untar(python.FS, await engine, SITE);
  python.FS.mkdirTree('/lib/inglenook');
  python.FS.writeFile('/lib/inglenook/vectors.so', await kernel);
  const locals = python.toPy({ archive: listed.get(ENGINE)?.sha256 ?? '' });
  python.runPython(AWAKE, { globals: locals });
  locals.destroy();
  progress(3, steps, 'Starting the engine');
  python.pyimport('inglenook.platform.browser.engine');
  progress(4, steps, '');
  return python;
}

/** The snapshot on its way, into memory that is had at once. @param {import('./assets.js').Asset | undefined} asset */
function early(asset) {
  if (!asset?.inflated) return undefined;
  const bytes = new Uint8Array(asset.inflated);
  return { bytes, filled: fetchAsset(asset.path).then((packed) => inflate(packed, bytes)) };
}

/**
 * From the snapshot, by ways of Pyodide's that are not public: where they fail, the slow way.
 * @param {any[]} scripts Pyodide's modules
 * @param {ReturnType<typeof early>} snapshot @param {Promise<Uint8Array<ArrayBuffer>>} numpy
 */
async function start([{ loadPyodide }, { default: create }], snapshot, numpy) {
  const options = { indexURL: PYODIDE };
  if (snapshot) {
    try {
      const linked = numpy.then((tar) => libraries(tar, SITE));
      return await restore(loadPyodide, options, create, linked, snapshot);
    } catch (error) {
      console.warn('Python starts without its snapshot:', error);
    }
  }
  return loadPyodide(options);
}

/** Load pypdfium2, which only PDF needs. @param {any} python */
export async function loadPdf(python) {
  if (python.FS.analyzePath(`${SITE}/pypdfium2`).exists) return;
  untar(python.FS, await inflated('static/py/pypdfium2.tar.gz'), SITE);
  python.runPython('import importlib; importlib.invalidate_caches()');
}

/** Load what the workbench runs beside the engine, for a Python that does nothing else. @param {any} python */
export async function loadWorkbench(python) {
  untar(python.FS, await inflated('static/py/workbench.tar.gz'), SITE);
  python.runPython('import importlib; importlib.invalidate_caches()');
}

/**
 * Load scikit-learn and what it needs, by Pyodide's own way, but from files that are fetched, checked and kept as all big
 * files are. numpy is there already. For a Python that does nothing else: it stays in memory.
 * @param {any} python @param {(done: number, total: number) => void} progress bytes
 */
export async function loadScience(python, progress) {
  const wheels = [...(await assets()).values()].filter(
    ({ group, path }) => group === 'science' && !/\/numpy-/.test(path),
  );
  if (!wheels.length) {
    const hint = 'Build the site anew to have it; search does without.';
    throw new NookError('science-missing', 'The map needs scikit-learn, which is not part of this site.', hint);
  }
  const total = wheels.reduce((sum, { size }) => sum + size, 0);
  /** @type {Map<string, Uint8Array<ArrayBuffer>>} */
  const here = new Map();
  let before = 0;
  for (const { path, size } of wheels) {
    here.set(new URL(path, BASE).href, await fetchAsset(path, { onProgress: (n) => progress(before + n, total) }));
    before += size;
  }
  const { fetch } = self;
  self.fetch = async (what, options) => {
    const bytes = here.get(what instanceof Request ? what.url : String(what));
    return bytes ? new Response(bytes) : fetch(what, options);
  };
  python.loadedPackages.numpy = 'static/py';
  python.FS.mkdirTree(`${SITE}/numpy/f2py`); // scipy imports whatever numpy names, the compiler too that ours is without
  python.FS.writeFile(`${SITE}/numpy/f2py/__init__.py`, '');
  try {
    await python.loadPackage('scikit-learn', { messageCallback: () => {} });
  } finally {
    self.fetch = fetch;
  }
}

/** Whether this browser has relaxed SIMD: validates a module with one `i32x4.relaxed_dot_i8x16_i7x16_add_s`. */
function relaxed() {
  const header = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
  const code = [10, 19, 1, 17, 0, 65, 1, 253, 15, 65, 2, 253, 15, 65, 3, 253, 15, 253, 147, 2, 11];
  return WebAssembly.validate(new Uint8Array([...header, ...code]));
}
