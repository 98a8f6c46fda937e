// Boots Python as the app's worker does, and hands it what ours.js asks.

import { Helpers } from '/lib/helpers.js';
import * as opfs from '/lib/opfs.js';
import { boot } from '/lib/pyodide.js';
import * as store from '/lib/store.js';

const starting = (async () => {
  const python = await boot(() => {});
  python.registerJsModule('inglenook_store', store);
  python.registerJsModule('inglenook_opfs', opfs);
  python.registerJsModule('inglenook_helpers', new Helpers(python));
  const source = await (await fetch('/peers/ours.py')).text();
  python.runPython(source);
  return python.globals.get('answer');
})();

self.onmessage = async ({ data: { id, ...message } }) => {
  try {
    const answer = await starting;
    const said = await answer(message, (/** @type {number} */ done) => self.postMessage({ done }));
    self.postMessage({ id, result: JSON.parse(said) });
  } catch (error) {
    self.postMessage({ id, error: String(error).trim().split('\n').at(-1) });
  }
};
