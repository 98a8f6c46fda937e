// The worker of scikit-learn: a Python of its own, so that the engine goes on searching while topics are looked for,
// and so that its memory comes back when the client (lib/science.js) ends it. It does one piece of work.

import { boot, loadScience } from './lib/pyodide.js';

const WORK = `
def work(vectors, width, groups):
    import numpy as np
    from pyodide.ffi import to_js
    from inglenook.topics.cluster import cluster
    made = cluster(np.frombuffer(vectors.to_bytes(), np.float32).reshape(-1, width), groups)
    return to_js([made.centres.tobytes(), made.plane.tobytes()])

work
`;

self.onmessage = async ({ data: { vectors, width, groups } }) => {
  try {
    const python = await boot(() => {});
    await loadScience(python, (done, total) => postMessage({ done, total }));
    const made = python.runPython(WORK)(vectors, width, groups);
    postMessage(
      { made },
      made.map((/** @type {Uint8Array} */ part) => part.buffer),
    );
  } catch (thrown) {
    const {
      code = 'science',
      message = String(thrown),
      hint = 'Reload the page and try again.',
    } = /** @type {any} */ (thrown);
    postMessage({ error: { code, message: String(message).trim().split('\n').at(-1), hint } });
  }
};
