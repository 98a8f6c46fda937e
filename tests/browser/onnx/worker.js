// Pyodide with numpy, the engine's sources and the binding, as web/worker.js sets it up; runs functions of checks.py.

import { Onnx } from '/lib/onnx.js';
import { loadPyodide } from '/static/pyodide/pyodide.mjs';

const SITE = '/lib/python3.14/site-packages';

async function boot() {
  const python = await loadPyodide({ indexURL: new URL('/static/pyodide/', self.location.href).href });
  for (const name of ['/static/py/numpy.tar.gz', '/onnx/engine.tar.gz']) {
    const response = await fetch(name);
    python.unpackArchive(await response.arrayBuffer(), 'gztar', { extractDir: SITE });
  }
  let onnx = new Onnx();
  python.registerJsModule('inglenook_onnx', onnx);
  /** End the runtime's worker and begin anew. */
  self.renew = () => {
    onnx.dispose();
    onnx = new Onnx();
    python.registerJsModule('inglenook_onnx', onnx);
  };
  return python;
}

const booted = boot();

self.onmessage = async ({ data: { id, name } }) => {
  try {
    const python = await booted;
    const result = await python.runPythonAsync(`import checks, json\njson.dumps(await checks.${name}())`);
    postMessage({ id, result: JSON.parse(result) });
  } catch (error) {
    postMessage({ id, error: String(error) });
  }
};
