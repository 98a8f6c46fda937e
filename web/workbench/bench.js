// The page's side of the workbench's worker (workbench-worker.js): jobs go in, what they say comes out; what a job asks of
// the engine or of a server is asked here, so that the page's policy, its ledger and its switch hold for it.

import { BASE } from '../base.js';
import { Client } from '../lib/client.js';
import { abortError, explain, NookError } from '../lib/errors.js';
import { spawn } from '../lib/spawn.js';
import { Stream } from '../lib/stream.js';
import { tabLink } from '../lib/tab.js';
import { answers } from './served.js';

/** The library that is open anyway: the workbench asks its engine for the bare model. */
const NAME = 'notes';

/** Events: "say" (what the worker or the engine is loading, '' when it is there). */
export class Bench extends EventTarget {
  /** @type {Worker | undefined} */ #worker;
  /** @type {Client | undefined} */ #engine;
  /** @type {Map<string, Stream<any>>} jobs under way */ #jobs = new Map();
  /** @type {Map<number, AbortController>} what they have asked */ #asked = new Map();
  #count = 0;
  loading = '';

  /** @param {() => boolean} off whether the network is switched off */
  constructor(off) {
    super();
    this.off = off;
  }

  /** Whether anything is under way. */
  get busy() {
    return this.#jobs.size > 0;
  }

  /**
   * Run a job: what it says, until it is done. Leaving the loop, or `signal`, stops it; `hard` ends the worker for that,
   * where a job leaves it no time to listen.
   * @param {string} job @param {object} told @param {{ signal?: AbortSignal, hard?: boolean }} [options]
   * @returns {Stream<any>}
   */
  run(job, told, { signal, hard = false } = {}) {
    const id = String(++this.#count);
    const stop = () => {
      if (!this.#jobs.delete(id)) return;
      if (hard) this.end();
      else this.#worker?.postMessage({ stop: id });
    };
    /** @type {Stream<any>} */
    const stream = new Stream(stop);
    const abort = () => {
      if (!hard) return this.#worker?.postMessage({ stop: id }); // its last report comes yet
      stop();
      stream.end(abortError(signal));
    };
    if (signal?.aborted) {
      stream.end(abortError(signal));
      return stream;
    }
    signal?.addEventListener('abort', abort, { once: true });
    this.#jobs.set(id, stream);
    this.#start().postMessage({ begin: id, job, told });
    return stream;
  }

  /** Give its memory back, and end what is under way. */
  end() {
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const stop of this.#asked.values()) stop.abort();
    this.#asked.clear();
    this.#engine?.close();
    this.#engine = undefined;
    for (const stream of this.#jobs.values()) stream.end(abortError());
    this.#jobs.clear();
    this.#say('');
  }

  #start() {
    if (this.#worker) return this.#worker;
    const worker = spawn(new URL('workbench-worker.js', BASE), 'inglenook-workbench');
    worker.onmessage = ({ data }) => this.#hear(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#lost({ code: 'worker-died', message: 'The workbench stopped.', hint: 'Go on: finished answers are kept.' });
    };
    this.#worker = worker;
    return worker;
  }

  /** @param {{ code: string, message: string, hint: string }} why */
  #lost({ code, message, hint }) {
    for (const stream of this.#jobs.values()) stream.end(new NookError(code, message, hint));
    this.#jobs.clear();
    this.end();
  }

  /** @param {any} data */
  #hear(data) {
    if (data.boot !== undefined) this.#say(data.boot < 1 ? 'Starting the workbench' : '');
    else if (data.failed) this.#lost(data.failed);
    else if (data.ask) this.#answer(data.ask, (signal) => this.#engines(data.ask, JSON.parse(data.told), signal));
    else if (data.fetch) this.#answer(data.fetch, (signal) => this.#servers(data.fetch, JSON.parse(data.told), signal));
    else if (data.leave) this.#asked.get(data.leave)?.abort();
    else this.#deliver(data.job, data.event);
  }

  /** @param {string} id @param {any} event */
  #deliver(id, event) {
    const stream = this.#jobs.get(id);
    if (!stream) return;
    if (event.type === 'Done') stream.end();
    else if (event.type === 'Stopped') stream.end(abortError());
    else if (event.type === 'Failed') stream.end(new NookError(event.code, event.message, event.hint));
    else stream.push(event);
    if (stream.ended) this.#jobs.delete(id);
  }

  /** @param {number} answer @param {(signal: AbortSignal) => Promise<any>} work */
  async #answer(answer, work) {
    const stop = new AbortController();
    this.#asked.set(answer, stop);
    const worker = this.#worker;
    try {
      const result = await work(stop.signal);
      worker?.postMessage({ answer, result });
    } catch (error) {
      const { code, message, hint } = explain(error);
      worker?.postMessage({ answer, error: { code, message, hint } });
    } finally {
      this.#asked.delete(answer);
    }
  }

  /** @param {number} answer @param {object} message @param {AbortSignal} signal */
  async #engines(answer, message, signal) {
    this.#engine ??= new Client(
      () => tabLink(BASE),
      () => ({ type: 'Open', name: NAME, model: '' }),
    );
    for await (const event of this.#engine.request(message, { signal })) {
      if (event.type === 'Progress' && event.stage === 'load') {
        this.#say(
          event.done < event.total ? `Loading the model · ${Math.floor((100 * event.done) / event.total)} %` : '',
        );
      }
      this.#worker?.postMessage({ answer, piece: JSON.stringify(event) });
    }
    return null;
  }

  /** @param {number} answer @param {{ url: string, key: string, body: string }} told @param {AbortSignal} signal */
  async #servers(answer, told, signal) {
    if (this.off()) throw new NookError('refused', 'The network is off.', 'Switch it on in the privacy ledger.');
    return answers(told, signal, (piece) => this.#worker?.postMessage({ answer, piece }, [piece.buffer]));
  }

  /** @param {string} what */
  #say(what) {
    if (this.loading === what) return;
    this.loading = what;
    this.dispatchEvent(new Event('say'));
  }
}
