// The models, each in a worker of its own: one or two encoders that share a queue, and the language model.
//
// Used by the engine's worker. A worker that dies rejects what it was doing with code "worker-died"; the next load()
// starts another one.

import { abortError, NookError } from './errors.js';
import { fetchModel } from './load-model.js';
import { spawn } from './spawn.js';
import { build } from './wasm-model.js';

/** Tokens of a question that is encoded in this thread: some ten milliseconds. */
const SHORT = 32;
const DEPTH = 2; // passages an encoder has: one at work, one so that it need not wait for us

/** @typedef {'encoder' | 'lm'} Kind */
/** @typedef {(done: number, total: number) => void} Report */
/**
 * @typedef {object} Info
 * @property {Kind} kind @property {string} build @property {number} threads @property {number} bytes
 * @property {number} instance another one whenever the model was loaded anew
 * @property {number} [dimensions] of the encoder's vectors
 * @property {number} [context] positions of a session @property {number} [pages] of all sessions
 * @property {Record<string, any>} [config] the artifact's
 */
/** @typedef {{ ids: Int32Array, logits: Float32Array, totals: Float32Array }} Candidates */
/** @typedef {import('./wasm-model.js').How} How */

const died = (/** @type {string} */ what) =>
  new NookError('worker-died', `The ${what} stopped working.`, 'Try again: it is started anew.');

/** One worker and the calls it has not answered yet. */
class Host {
  /** @param {URL} base @param {string} name @param {(host: Host, error: Error) => void} onDeath */
  constructor(base, name, onDeath) {
    this.name = name;
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void, report?: Report }>} */
    this.waiting = new Map();
    this.count = 0;
    this.onDeath = onDeath;
    this.worker = spawn(new URL('kernel-worker.js', base), `inglenook-${name}`);
    this.worker.onmessage = ({ data }) => this.answer(data);
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      this.end(died(name));
    };
  }

  /** @param {{ id: number, done: number, total: number, result: any, error?: any, fatal?: boolean }} reply */
  answer({ id, done, total, result, error, fatal }) {
    const call = this.waiting.get(id);
    if (!call) return;
    if (total !== undefined) return call.report?.(done, total);
    this.waiting.delete(id);
    if (!error) return call.resolve(result);
    const told = new NookError(error.code, error.message, error.hint);
    call.reject(told);
    if (fatal) this.end(told);
  }

  /** @param {Record<string, any>} job @param {Report} [report] @returns {Promise<any>} */
  call(job, report) {
    const id = this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, report });
      this.worker.postMessage({ id, ...job });
    });
  }

  /** End the worker; what waits for it fails. @param {Error} error */
  end(error) {
    this.worker.terminate();
    const calls = [...this.waiting.values()];
    this.waiting.clear();
    for (const { reject } of calls) reject(error);
    this.onDeath(this, error);
  }
}

/** A load that any number of callers wait for; it is stopped when all of them have given up. */
class Loading {
  /** @param {(report: Report) => Promise<Info>} start @param {() => void} stop */
  constructor(start, stop) {
    this.stop = stop;
    this.waiting = 0;
    /** @type {Set<Report>} */
    this.reports = new Set();
    /** @type {[number, number] | undefined} */
    this.last = undefined;
    this.result = start((done, total) => {
      this.last = [done, total];
      for (const report of this.reports) report(done, total);
    });
  }

  /** @param {Report | undefined} report @param {AbortSignal | undefined} signal @returns {Promise<Info>} */
  async join(report, signal) {
    signal?.throwIfAborted();
    this.waiting++;
    if (report) {
      this.reports.add(report);
      if (this.last) report(...this.last);
    }
    /** @type {(() => void) | undefined} */
    let leave;
    const given = new Promise((_, reject) => {
      leave = () => reject(abortError(signal));
      signal?.addEventListener('abort', leave);
    });
    try {
      return /** @type {Info} */ (await Promise.race([this.result, given]));
    } finally {
      if (leave) signal?.removeEventListener('abort', leave);
      if (report) this.reports.delete(report);
      this.waiting--;
      if (signal?.aborted && this.waiting === 0) this.stop();
    }
  }
}

export class Kernels {
  /** @param {{ base: URL | string, encoders?: number, threads?: number }} options `base`: the folder of inglenook.js */
  constructor({ base, encoders = 2, threads }) {
    const cores = navigator.hardwareConcurrency || 1;
    this.base = new URL(base, import.meta.url);
    this.encoders = Math.max(1, Math.min(encoders, cores));
    this.threads = self.crossOriginIsolated ? (threads ?? Math.min(4, cores > 2 ? Math.ceil(cores / 2) : cores)) : 1;
    /** @type {Set<Host>} encoders that can take work */
    this.pool = new Set();
    /** @type {Passage[]} */
    this.urgent = [];
    /** @type {Passage[]} */
    this.queue = [];
    /** @type {Host | undefined} */
    this.lm = undefined;
    /** @type {Map<Kind, Loading>} */
    this.loading = new Map();
    /** @type {Map<Kind, Info>} */
    this.info = new Map();
    /** @type {import('./wasm-model.js').Encoder | undefined} an encoder in this thread, for short questions */
    this.near = undefined;
    this.nearing = false;
    this.disposed = false;
    this.instances = 0;
    this.plain = false; // the language model keeps to the build that any browser runs
    this.fell = false; // a language model that ran is gone
  }

  /** "absent", "loading" or "ready". @param {Kind} kind */
  state(kind) {
    return this.info.has(kind) ? 'ready' : this.loading.has(kind) ? 'loading' : 'absent';
  }

  /**
   * Make a model ready. Several may wait for the same load; it stops when the last of them gives up.
   *
   * @param {Kind} kind
   * @param {{ onProgress?: Report, signal?: AbortSignal }} [options] progress in bytes
   * @returns {Promise<Info>}
   */
  load(kind, { onProgress, signal } = {}) {
    const ready = this.info.get(kind);
    if (ready) return Promise.resolve(ready);
    if (this.disposed) return Promise.reject(died(kind));
    let loading = this.loading.get(kind);
    if (!loading) {
      const host = new Host(this.base, kind, (gone) => this.lost(kind, gone));
      const stop = () => host.end(abortError());
      const start = async (/** @type {Report} */ report) => {
        try {
          const threads = kind === 'lm' ? this.threads : 1;
          const plain = kind === 'lm' && this.plain;
          const job = { op: 'load', kind, threads, plain };
          const info = { ...(await host.call(job, report)), instance: ++this.instances };
          this.info.set(kind, info);
          this.welcome(kind, host);
          return info;
        } finally {
          this.loading.delete(kind);
        }
      };
      loading = new Loading(start, stop);
      loading.result.catch(() => {}); // those who wait for it hear of it
      this.loading.set(kind, loading);
    }
    return loading.join(onProgress, signal);
  }

  /**
   * Embed passages that stand one after the other in `flat`.
   *
   * @param {Int32Array} flat @param {Int32Array} lengths @param {boolean} urgent goes before what is not
   * @returns {Promise<Float32Array> | Float32Array} (lengths.length, dimensions); at once where it is done nearby
   */
  encode(flat, lengths, urgent) {
    const short = urgent && lengths.length === 1 && flat.length <= SHORT;
    return (short && this.nearby(flat)) || this.encodeAway(flat, lengths, urgent);
  }

  /** By the workers. @param {Int32Array} flat @param {Int32Array} lengths @param {boolean} urgent */
  async encodeAway(flat, lengths, urgent) {
    if (!this.pool.size) throw new NookError('model-missing', 'The encoder is not loaded.', 'Load it first.');
    const lane = urgent ? this.urgent : this.queue;
    /** @type {Passage[]} */
    const passages = [];
    let at = 0;
    for (const length of lengths) {
      const passage = new Passage(flat.slice(at, at + length));
      passages.push(passage);
      lane.push(passage);
      at += length;
    }
    this.feed();
    try {
      const vectors = await Promise.all(passages.map((passage) => passage.vector));
      const width = vectors[0]?.length ?? 0;
      const out = new Float32Array(vectors.length * width);
      for (const [i, vector] of vectors.entries()) out.set(vector, i * width);
      return out;
    } catch (error) {
      const ours = new Set(passages);
      if (urgent) this.urgent = this.urgent.filter((passage) => !ours.has(passage));
      else this.queue = this.queue.filter((passage) => !ours.has(passage));
      throw error;
    }
  }

  /**
   * The vector of a short question by the encoder in this thread: on few cores the way to a worker and back takes longer
   * than the work. It is made after the first question, so that it costs nobody's start; until then, undefined.
   *
   * @param {Int32Array} tokens
   */
  nearby(tokens) {
    try {
      if (this.near) return this.near.encode(tokens);
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      this.near = undefined; // it broke: the workers go on, and another one is made
      this.nearing = false;
    }
    if (!this.nearing && this.pool.size === this.encoders && !this.queue.length) {
      this.nearing = true;
      const keep = (/** @type {import('./wasm-model.js').Encoder} */ made) => {
        made.open();
        if (!this.disposed) this.near = made;
      };
      fetchModel('encoder', false)
        .then(keep)
        .catch(() => {}); // as before, then
    }
    return undefined;
  }

  /**
   * Run the language model over `tokens` from position `at` on; see flow.py.
   *
   * @param {Int32Array} tokens @param {number} at @param {number} top @param {How} [how]
   * @returns {Promise<Candidates>} the `top` best next tokens, logits descending
   */
  forward(tokens, at, top, how) {
    return this.run({ op: 'forward', tokens, at, top, how });
  }

  /**
   * One token each of several sessions, in one pass over the weights.
   *
   * @param {import('./wasm-model.js').Batch} batch @returns {Promise<Candidates>} of all, one after the other
   */
  batch(batch) {
    return this.run({ op: 'batch', batch });
  }

  /** @param {Int32Array} tokens @param {number} at @param {How} [how] @returns {Promise<Float32Array>} */
  score(tokens, at, how) {
    return this.run({ op: 'score', tokens, at, how });
  }

  /** @param {number} source @param {number} target pages @returns {Promise<void>} */
  copy(source, target) {
    return this.run({ op: 'copy', source, target });
  }

  /** Read all weights once: the bound of decoding. @returns {Promise<number>} bytes */
  read() {
    return this.run({ op: 'read' });
  }

  /** Have the language model do something. @param {Record<string, any>} job @returns {Promise<any>} */
  async run(job) {
    if (!this.lm && this.fell) throw died('lm');
    if (!this.lm) throw new NookError('model-missing', 'The language model is not loaded.', 'Load it first.');
    return this.lm.call(job);
  }

  /**
   * What the language model's build computes is wrong: it ends, and the next load takes the plain one.
   * @returns {boolean} false if it was that one already
   */
  distrust() {
    const wrong = this.info.get('lm')?.build;
    this.plain = true;
    this.lm?.end(died('lm'));
    return wrong !== undefined && wrong !== build(wrong.includes('threads'), true);
  }

  /** End all workers and free their memory. */
  dispose() {
    this.disposed = true;
    this.near = undefined;
    for (const loading of this.loading.values()) loading.stop();
    for (const host of [...this.pool, ...(this.lm ? [this.lm] : [])]) host.end(died(host.name));
  }

  /** A worker is ready. @param {Kind} kind @param {Host} host */
  welcome(kind, host) {
    if (kind === 'lm') {
      this.lm = host;
      return;
    }
    this.pool.add(host);
    this.feed();
    if (this.pool.size < this.encoders && !this.disposed) {
      // The first one downloaded the weights and serves already; the next find them in the cache.
      const next = new Host(this.base, kind, (gone) => this.lost(kind, gone));
      const welcome = () => this.welcome(kind, next);
      next.call({ op: 'load', kind, threads: 1 }).then(welcome, () => {});
    }
  }

  /** A worker has ended. @param {Kind} kind @param {Host} host */
  lost(kind, host) {
    if (kind === 'lm') {
      if (this.lm === host) {
        this.lm = undefined;
        this.fell = true;
        this.info.delete('lm');
      }
      return;
    }
    if (this.pool.delete(host) && !this.pool.size) {
      this.info.delete('encoder');
      for (const passage of [...this.urgent.splice(0), ...this.queue.splice(0)]) passage.reject(died('encoder'));
    }
  }

  /** Give waiting passages to the encoders with the fewest; urgent ones at once, for they go first there too. */
  feed() {
    while (this.pool.size) {
      const [host] = [...this.pool].sort((a, b) => a.waiting.size - b.waiting.size);
      const urgent = this.urgent.length > 0;
      const passage = urgent ? this.urgent.shift() : host.waiting.size < DEPTH && this.queue.shift();
      if (!passage) return;
      const answer = host.call({ op: 'encode', tokens: passage.tokens, urgent });
      answer.then(passage.resolve, passage.reject).finally(() => this.feed());
    }
  }
}

/** A passage that waits for its vector. */
class Passage {
  /** @param {Int32Array} tokens */
  constructor(tokens) {
    this.tokens = tokens;
    /** @type {(vector: Float32Array) => void} */
    this.resolve = () => {};
    /** @type {(error: Error) => void} */
    this.reject = () => {};
    /** @type {Promise<Float32Array>} */
    this.vector = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.vector.catch(() => {}); // encode() awaits them together
  }
}
