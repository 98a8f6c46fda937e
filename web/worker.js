// The engine's worker: boots Pyodide, unpacks the engine and passes messages. Everything that decides is Python
// (pysrc/inglenook/platform/browser/engine.py).

import './lib/vital.js';
import { fetchAsset } from './lib/assets.js';
import { Helpers } from './lib/helpers.js';
import { Kernels } from './lib/kernels.js';
import { Onnx } from './lib/onnx.js';
import * as opfs from './lib/opfs.js';
import { boot, loadPdf } from './lib/pyodide.js';
import { cluster } from './lib/science.js';
import * as store from './lib/store.js';

/** @type {{ receive(text: string, blobs: Uint8Array[]): void } | undefined} */
let engine;
/** @type {Array<[string, Uint8Array[]]>} what came before the engine was up */
const waiting = [];
/** the stream that asked first hears how the start goes */
let opener = '';

/**
 * A message as JSON text, its bytes taken out: the form `inglenook.wire.codec` reads.
 * @param {object} message @returns {[string, Uint8Array[]]}
 */
function take(message) {
  /** @type {Uint8Array[]} */
  const blobs = [];
  const text = JSON.stringify(message, (_, value) => {
    if (value instanceof ArrayBuffer) return { $bytes: blobs.push(new Uint8Array(value)) - 1 };
    if (!ArrayBuffer.isView(value)) return value;
    return { $bytes: blobs.push(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)) - 1 };
  });
  return [text, blobs];
}

/** @param {string} text @param {Uint8Array[]} blobs */
function send(text, blobs) {
  const revive = blobs.length
    ? (/** @type {string} */ _, /** @type {any} */ value) =>
        typeof value?.$bytes === 'number' ? blobs[value.$bytes] : value
    : undefined;
  postMessage(JSON.parse(text, revive), /** @type {any} */ (blobs.map((blob) => blob.buffer)));
}

/** @param {number} done @param {number} total @param {string} note */
function progress(done, total, note) {
  if (opener) postMessage({ type: 'Progress', id: opener, stage: 'boot', done, total, unit: 'step', note });
}

self.onmessage = ({ data }) => {
  if (data.type === 'Open') opener ||= data.id;
  const message = take(data);
  if (engine) engine.receive(...message);
  else waiting.push(message);
};

try {
  const kernels = new Kernels({ base: new URL('.', import.meta.url) });
  kernels.load('encoder', {}).catch(() => {}); // beside the start of Python; the engine asks again and hears errors
  const python = await boot(progress);
  python.registerJsModule('inglenook_store', store);
  python.registerJsModule('inglenook_opfs', opfs);
  python.registerJsModule('inglenook_onnx', new Onnx());
  python.registerJsModule('inglenook_helpers', new Helpers(python));
  const files = { fetch: fetchAsset, loadPdf: () => loadPdf(python), cluster };
  engine = python.pyimport('inglenook.platform.browser.engine').start(send, kernels, files);
  for (const message of waiting.splice(0)) engine?.receive(...message);
} catch (error) {
  const code = /** @type {any} */ (error)?.code ?? 'boot';
  const hint = /** @type {any} */ (error)?.hint ?? 'Reload the page. If it stays, this browser may be too old.';
  const message = `The engine could not start: ${error instanceof Error ? error.message : error}`;
  const fail = (/** @type {string} */ id) => postMessage({ type: 'Failed', id, code, message, hint });
  for (const [text] of waiting.splice(0)) fail(JSON.parse(text).id);
  self.onmessage = ({ data }) => fail(data.id);
}
