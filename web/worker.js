// The engine's worker: boots Pyodide, unpacks the engine and passes messages. Everything that decides is Python
// (pysrc/inglenook/platform/browser/engine.py). Each user has a line of its own, which comes with a "Join".

import { fetchAsset } from './lib/assets.js';
import { Helpers } from './lib/helpers.js';
import { Kernels } from './lib/kernels.js';
import { Onnx } from './lib/onnx.js';
import * as opfs from './lib/opfs.js';
import { boot, loadPdf } from './lib/pyodide.js';
import { cluster } from './lib/science.js';
import * as store from './lib/store.js';
import { alive } from './lib/vital.js';

/** @typedef {(text: string, blobs: Uint8Array[]) => void} Send */
/** @typedef {{ receive: Send, leave(): void }} Served */

/** @type {{ join(send: Send): Served } | undefined} */
let engine;
/** @type {Set<Line>} */
const lines = new Set();

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

/** One user of the engine. */
class Line {
  /** the stream that asked first hears how the start goes */
  #opener = '';
  /** @type {Array<[string, Uint8Array[]]>} what came before the engine was up */
  #waiting = [];
  /** @type {Served | undefined} */
  #served;

  /** @param {MessagePort} port */
  constructor(port) {
    this.port = port;
    port.onmessage = ({ data }) => this.hear(data);
    if (engine) this.begin(engine);
  }

  /** @param {any} data */
  hear(data) {
    if (data.type === 'Leave') {
      lines.delete(this);
      this.port.close();
      this.#served?.leave();
      return;
    }
    if (data.type === 'Open') this.#opener ||= data.id;
    const message = take(data);
    if (this.#served) this.#served.receive(...message);
    else this.#waiting.push(message);
  }

  /** The engine is up. @param {{ join(send: Send): Served }} up */
  begin(up) {
    this.#served = up.join((text, blobs) => this.send(text, blobs));
    for (const message of this.#waiting.splice(0)) this.#served.receive(...message);
  }

  /** @param {string} text @param {Uint8Array[]} blobs */
  send(text, blobs) {
    const revive = blobs.length
      ? (/** @type {string} */ _, /** @type {any} */ value) =>
          typeof value?.$bytes === 'number' ? blobs[value.$bytes] : value
      : undefined;
    this.port.postMessage(JSON.parse(text, revive), /** @type {any} */ (blobs.map((blob) => blob.buffer)));
  }

  /** @param {number} done @param {number} total @param {string} note */
  progress(done, total, note) {
    const id = this.#opener;
    if (id) this.port.postMessage({ type: 'Progress', id, stage: 'boot', done, total, unit: 'step', note });
  }

  /** The engine did not start. @param {{ code: string, message: string, hint: string }} why */
  fail(why) {
    const failed = (/** @type {string} */ id) => this.port.postMessage({ type: 'Failed', id, ...why });
    for (const [text] of this.#waiting.splice(0)) failed(JSON.parse(text).id);
    this.port.onmessage = ({ data }) => failed(data.id);
  }
}

/** @type {(line: Line) => void} */
let welcome = () => {};

self.onmessage = ({ data, ports: [port] }) => {
  if (data.type !== 'Join') return;
  const line = new Line(port);
  lines.add(line);
  welcome(line);
  port.postMessage({ type: 'Joined', id: '' });
  alive.then((lock) => port.postMessage({ type: 'Alive', id: '', lock }));
};

/** @param {number} done @param {number} total @param {string} note */
function progress(done, total, note) {
  for (const line of lines) line.progress(done, total, note);
}

try {
  const kernels = new Kernels({ base: new URL('.', import.meta.url) });
  kernels.load('encoder', {}).catch(() => {}); // beside the start of Python; the engine asks again and hears errors
  const python = await boot(progress);
  python.registerJsModule('inglenook_store', store);
  python.registerJsModule('inglenook_opfs', opfs);
  python.registerJsModule('inglenook_onnx', new Onnx());
  python.registerJsModule('inglenook_helpers', new Helpers(python));
  const files = { fetch: fetchAsset, loadPdf: () => loadPdf(python), cluster };
  engine = python.pyimport('inglenook.platform.browser.engine').start(kernels, files);
  for (const line of lines) line.begin(/** @type {any} */ (engine));
} catch (error) {
  const code = /** @type {any} */ (error)?.code ?? 'boot';
  const hint = /** @type {any} */ (error)?.hint ?? 'Reload the page. If it stays, this browser may be too old.';
  const message = `The engine could not start: ${error instanceof Error ? error.message : error}`;
  welcome = (line) => line.fail({ code, message, hint });
  for (const line of lines) welcome(line);
}
