// Runs the Python of the tab under node, for what only that Python can make: its bytecode and its memory snapshot.
//
//   node runtime.mjs PYODIDE_FOLDER compile JOB_FOLDER     compile JOB_FOLDER/in to JOB_FOLDER/out (see compile.py)
//   node runtime.mjs PYODIDE_FOLDER snapshot OUT STDLIB IMPORTS    modules of the standard library, comma-separated
//
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, verb, ...rest] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(resolve(folder, 'pyodide.mjs')).href);
const indexURL = `${resolve(folder)}/`;

if (verb === 'compile') {
  const python = await loadPyodide({ indexURL });
  python.FS.mkdir('/job');
  python.FS.mount(python.FS.filesystems.NODEFS, { root: resolve(rest[0]) }, '/job');
  python.runPython(readFileSync(new URL('compile.py', import.meta.url), 'utf8'));
} else if (verb === 'snapshot') {
  const [out, stdlib, imports] = rest;
  const python = await loadPyodide({ indexURL, stdLibURL: resolve(stdlib), _makeSnapshot: true });
  python.globals.set('names', imports);
  python.runPython(`
import gc, importlib
for name in names.split(','):
    try:
        importlib.import_module(name)
    except ImportError:  # not every module of CPython is in the tab's
        pass
del name, names, importlib
gc.collect()
`);
  writeFileSync(out, python.makeMemorySnapshot());
} else {
  throw new Error(`unknown verb ${verb}`);
}
process.exit(0);
