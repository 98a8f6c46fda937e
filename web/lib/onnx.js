// The client of web/onnx-worker.js: makes the worker when the first model is wanted and speaks to it.
// Python reaches it as the module `inglenook_onnx` (pysrc/inglenook/platform/browser/onnx.py).

import { BASE } from '../base.js';
import { abortError } from './errors.js';
import { spawn } from './spawn.js';

/** @typedef {import('../onnx-worker.js').Tensor} Tensor */
/** @typedef {{ name: string, type: string, shape: Array<number | string> }} Node */
/** @typedef {{ session: number, provider: 'wasm' | 'webgpu', inputs: Node[], outputs: Node[] }} Opened */
/**
 * @typedef {{ resolve(value: any): void, reject(reason: Error): void, report?(done: number, total: number): void }} Waiting
 */

/** A model could not be loaded or run. */
export class OnnxError extends Error {
  /** @param {string} message @param {string} [hint] @param {string} [code] */
  constructor(message, hint = '', code = 'onnx') {
    super(message);
    this.name = 'NookError';
    this.code = code;
    this.hint = hint;
  }
}

/** ONNX models, in a worker of their own. */
export class Onnx {
  /** @type {Worker | undefined} */
  #worker;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  /** @type {Set<number>} sessions the present worker holds */
  #sessions = new Set();
  #last = 0;
  #disposed = false;

  /**
   * Load a model.
   *
   * @param {Uint8Array | string} model its bytes (handed over: the caller's become empty) or the path of an asset
   * @param {string[]} [providers] "webgpu", "wasm"; what is not there is passed over
   * @param {(done: number, total: number) => void} [onProgress] bytes of what has to be fetched
   * @param {AbortSignal} [signal] stops the download
   * @returns {Promise<Opened>}
   */
  async create(model, providers = [], onProgress, signal) {
    signal?.throwIfAborted();
    const session = ++this.#last;
    const stop = new AbortController();
    const stopped = new Promise((_, reject) => {
      const abort = () => {
        this.#worker?.postMessage({ verb: 'stop', session });
        reject(abortError(signal));
      };
      signal?.addEventListener('abort', abort, { signal: stop.signal });
    });
    const report = (/** @type {number} */ done, /** @type {number} */ total) =>
      signal?.aborted || onProgress?.(done, total);
    const opening = this.#ask({ verb: 'create', session, model, providers }, [model], report).then((opened) => {
      this.#sessions.add(session);
      if (signal?.aborted) this.release(session); // it was made all the same
      return opened;
    });
    try {
      return await Promise.race([opening, stopped]);
    } finally {
      stop.abort();
    }
  }

  /**
   * Run a model.
   *
   * @param {number} session
   * @param {string[]} outputs
   * @param {Array<[name: string, type: string, dims: number[], data: Uint8Array]>} feeds `data` is handed over
   * @returns {Promise<Tensor[]>} in the order of `outputs`
   */
  async run(session, outputs, feeds) {
    if (!this.#sessions.has(session)) throw new OnnxError('The session is closed.', 'Create it again.');
    const tensors = feeds.map(([name, type, dims, data]) => ({ name, type, dims, data }));
    const handed = feeds.map(([, , , data]) => data);
    return this.#ask({ verb: 'run', session, outputs, feeds: tensors }, handed);
  }

  /** Free a model's memory. @param {number} session */
  release(session) {
    if (this.#sessions.delete(session)) this.#ask({ verb: 'release', session }).catch(() => {});
  }

  /** End the worker and everything in it. */
  dispose() {
    this.#disposed = true;
    this.#end(new OnnxError('The ONNX runtime was closed.'));
  }

  /**
   * @param {object} request @param {Array<Uint8Array | string>} [handed]
   * @param {(done: number, total: number) => void} [report] @returns {Promise<any>}
   */
  #ask(request, handed = [], report) {
    return new Promise((resolve, reject) => {
      if (this.#disposed) throw new OnnxError('The ONNX runtime was closed.');
      const id = ++this.#last;
      const buffers = handed.flatMap((item) => (typeof item === 'string' ? [] : [item.buffer]));
      this.#start().postMessage({ ...request, id }, /** @type {any} */ ([...new Set(buffers)]));
      this.#waiting.set(id, { resolve, reject, report });
    });
  }

  #start() {
    if (this.#worker) return this.#worker;
    const worker = spawn(new URL('onnx-worker.js', BASE), 'onnx');
    worker.onmessage = ({ data: { id, answer, error, broken, done, total } }) => {
      const waiting = this.#waiting.get(id);
      if (total !== undefined) return waiting?.report?.(done, total);
      this.#waiting.delete(id);
      if (!error) return waiting?.resolve(answer);
      waiting?.reject(new OnnxError(error.message, error.hint, error.code));
      if (broken) this.#end(new OnnxError('The ONNX runtime broke down.', 'Create the session again.'));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const why = event.message ? `: ${event.message}` : '';
      this.#end(new OnnxError(`The ONNX runtime stopped${why}.`, 'Create the session again.'));
    };
    worker.onmessageerror = () => this.#end(new OnnxError('The ONNX runtime sent what could not be read.'));
    this.#worker = worker;
    return worker;
  }

  /** @param {OnnxError} error what everyone who waits is told */
  #end(error) {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#sessions.clear();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
