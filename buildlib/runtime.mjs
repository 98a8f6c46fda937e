// Runs the Python of the tab under node, for what only that Python can make: its bytecode and its memory snapshot.
//
//   node runtime.mjs PYODIDE_FOLDER compile JOB_FOLDER     compile JOB_FOLDER/in to JOB_FOLDER/out (see compile.py)
//   node runtime.mjs PYODIDE_FOLDER snapshot OUT STDLIB NUMPY ENGINE IMPORTS    (archives; modules, comma-separated)
//
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { libraries, linking, sealed } from '../web/lib/snapshot.js';
import { untar } from '../web/lib/unpack.js';

const SITE = '/lib/python3.14/site-packages';

const [folder, verb, ...rest] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(resolve(folder, 'pyodide.mjs')).href);
const indexURL = `${resolve(folder)}/`;

if (verb === 'compile') {
  const python = await loadPyodide({ indexURL });
  python.FS.mkdir('/job');
  python.FS.mount(python.FS.filesystems.NODEFS, { root: resolve(rest[0]) }, '/job');
  python.runPython(readFileSync(new URL('compile.py', import.meta.url), 'utf8'));
} else if (verb === 'snapshot') {
  const [out, stdlib, numpy, engine, imports] = rest;
  const numpyFiles = gunzipSync(readFileSync(numpy));
  const { default: create } = await import(pathToFileURL(resolve(folder, 'pyodide.asm.mjs')).href);
  let layout;
  const python = await loadPyodide({
    indexURL,
    stdLibURL: resolve(stdlib),
    _makeSnapshot: true,
    createPyodideModule: linking(create, libraries(numpyFiles, SITE), (_, linked) => {
      layout = linked;
    }),
  });
  const engineFiles = readFileSync(engine);
  untar(python.FS, numpyFiles, SITE);
  untar(python.FS, gunzipSync(engineFiles), SITE);
  python.globals.set('names', imports);
  python.globals.set('archive', createHash('sha256').update(engineFiles).digest('hex'));
  python.runPython(`
import gc, importlib, sys
importlib.invalidate_caches()
for name in names.split(','):
    try:
        importlib.import_module(name)
    except ImportError:  # not every module of CPython is in the tab's
        pass
sys.modules['inglenook'].archive = archive
del archive, name, names, importlib, sys
gc.collect()
`);
  writeFileSync(out, sealed(python.makeMemorySnapshot(), layout));
} else {
  throw new Error(`unknown verb ${verb}`);
}
process.exit(0);
