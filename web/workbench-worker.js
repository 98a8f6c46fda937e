// The workbench's worker: a Python of its own, so that the engine goes on searching while prompts are tested, and so that
// its memory comes back when it ends. What decides is pysrc/inglenook/platform/browser/workbench; the engine and servers
// are asked through the page (workbench/bench.js).

import { assets, fetchAsset } from './lib/assets.js';
import { NookError } from './lib/errors.js';
import { Lab } from './lib/lab.js';
import { MODELS } from './lib/load-model.js';
import { boot, loadWorkbench } from './lib/pyodide.js';
import * as store from './lib/store.js';

/** @typedef {{ resolve: (value: any) => void, reject: (error: Error) => void, hear: (piece: any) => void }} Asked */

/** @type {Map<number, Asked>} what the page was asked and has not answered */
const waiting = new Map();
let count = 0;

/** @param {'ask' | 'fetch'} what @param {string} told @param {(piece: any) => void} hear */
function request(what, told, hear) {
  const number = ++count;
  const done = new Promise((resolve, reject) => waiting.set(number, { resolve, reject, hear }));
  postMessage({ [what]: number, told });
  const stop = () => {
    waiting.delete(number);
    postMessage({ leave: number });
  };
  return { done, stop };
}

const page = {
  model: '',
  /** A request of the engine's: `hear` gets its events as JSON. @param {string} told @param {(event: string) => void} hear */
  ask: (told, hear) => request('ask', told, hear),
  /** A request of a server: `hear` gets its body as it comes. @param {string} told @param {(piece: Uint8Array) => void} hear */
  fetch: (told, hear) => request('fetch', told, hear),
  /** @param {(done: number, total: number) => void} hear */
  lab: (hear) => ({ done: Lab.open(hear), stop: () => {} }),
  /** The tokenizer of this tab's model. */
  tokenizer: () => ({ done: fetchAsset(MODELS.lm.replace(/nkm$/, 'tokenizer.json')), stop: () => {} }),
  /** @param {string} job @param {string} text */
  tell: (job, text) => postMessage({ job, event: JSON.parse(text) }),
};

/** @type {Promise<{ begin(id: string, job: string, text: string): void, stop(id: string): void }>} */
const bench = (async () => {
  const python = await boot((done, total) => postMessage({ boot: done / total }));
  await loadWorkbench(python);
  python.registerJsModule('inglenook_store', store);
  page.model = (await assets()).get(MODELS.lm)?.sha256.slice(0, 8) ?? '';
  return python.pyimport('inglenook.platform.browser.workbench.worker').start(page);
})();
bench.catch((thrown) => {
  const {
    code = 'boot',
    message = String(thrown),
    hint = 'Reload the page and try again.',
  } = /** @type {any} */ (thrown);
  postMessage({ failed: { code, message: String(message).trim().split('\n').at(-1), hint } });
});

self.onmessage = async ({ data }) => {
  const asked = waiting.get(data.answer);
  if (asked) {
    if (data.piece !== undefined) return asked.hear(data.piece);
    waiting.delete(data.answer);
    const { error } = data;
    if (error) asked.reject(new NookError(error.code, error.message, error.hint));
    else asked.resolve(data.result);
  } else if (data.begin) (await bench).begin(data.begin, data.job, JSON.stringify(data.told));
  else if (data.stop) (await bench).stop(data.stop);
};
