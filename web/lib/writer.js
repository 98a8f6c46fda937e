// A server that writes what this tab would be too slow for: how fast it is, how far away, and whether it is there.

import { Client } from './client.js';
import { isAbort, NookError } from './errors.js';
import { serverLink } from './remote.js';

/** @typedef {import('../wire.gen.js').Event} Event */
/** @typedef {import('../wire.gen.js').Level} Level */
/** @typedef {import('../wire.gen.js').PlacedMessage} Placed */

/** The way there and back is the shortest of so many, and then goes with what answers took, for some milliseconds. */
const VISITS = 3;
const WEIGHT = 0.3;
const STALE = 60_000;
/** A server that says nothing is taken for gone after so many times what was expected, and milliseconds at least. */
const PATIENCE = 3;
const SILENCE = 3000;

export class Writer {
  #client;
  /** @type {Level[]} */ #levels = [];
  /** milliseconds there and back */ #delay = 0;
  /** when that was learnt */ #learnt = Number.NEGATIVE_INFINITY;
  #fresh = false;
  /** @type {Promise<void> | undefined} */ #visit;

  /** @param {URL} url @param {string} [key] */
  constructor(url, key) {
    this.#client = new Client(
      () => serverLink(url, key),
      () => ({ type: 'Open' }),
    );
  }

  /** What the planner has to know of it; nothing while it is not there. It is never waited for. */
  offer() {
    if (!this.#fresh || this.#isStale) this.visit().catch(() => {});
    return this.#levels.length ? { server: this.#levels, delay_ms: this.#delay } : {};
  }

  get #isStale() {
    return performance.now() - this.#learnt > STALE;
  }

  /** How fast it is, and how far away: for people. */
  get told() {
    return this.#levels.length ? { first_ms: this.#levels[0].first_ms, delay_ms: this.#delay } : undefined;
  }

  /** Ask the server how fast it is, and see how long that takes. @param {AbortSignal} [signal] @returns {Promise<void>} */
  visit(signal) {
    this.#visit ??= this.#ask(signal).finally(() => {
      this.#visit = undefined;
    });
    return this.#visit;
  }

  /** @param {AbortSignal} [signal] */
  async #ask(signal) {
    this.#fresh = true;
    try {
      if (this.#isStale) this.#learn(await this.#distance(signal));
      if (!(await this.#measured(false, signal))) await this.#measured(true, signal);
    } catch (error) {
      this.#gone();
      throw error;
    }
  }

  /** @param {AbortSignal} [signal] */
  async #distance(signal) {
    let shortest = Number.POSITIVE_INFINITY;
    for (let n = 0; n < VISITS; n++) {
      const began = performance.now();
      for await (const _ of this.#client.request({ type: 'Look' }, { signal }));
      shortest = Math.min(shortest, performance.now() - began);
    }
    return shortest;
  }

  /** @param {boolean} measure whether the server is to find out anew @param {AbortSignal} [signal] */
  async #measured(measure, signal) {
    for await (const event of this.#client.request({ type: 'Levels', measure }, { signal }))
      if (event.type === 'Ladder') this.#levels = event.measured ? event.levels : [];
    return this.#levels.length > 0;
  }

  /** @param {number} delay */
  #learn(delay) {
    this.#delay = delay;
    this.#learnt = performance.now();
  }

  #gone() {
    this.#levels = [];
    this.#learnt = Number.NEGATIVE_INFINITY;
    this.#fresh = false;
  }

  /**
   * What an engine of this tab answers, and what the server writes where the engine places that there. When the server
   * fails or falls silent, the tab writes the answer from its beginning.
   *
   * @param {AsyncIterable<Event>} events @param {(message: object) => AsyncIterable<Event>} here asks the tab
   * @param {AbortSignal} [signal] @returns {AsyncIterableIterator<Event>}
   */
  async *through(events, here, signal) {
    /** @type {Placed | undefined} */
    let placed;
    for await (const event of events) {
      if (event.type === 'Placed') placed = event;
      yield event;
    }
    const write = placed?.write;
    if (!placed || !write) return;
    const began = performance.now();
    try {
      yield* this.#write(placed, signal);
    } catch (/** @type {any} */ error) {
      if (isAbort(error) || signal?.aborted) throw error;
      this.#gone();
      const reason = error.code === 'server-gone' ? 'the server is gone' : 'the server could not';
      yield { ...placed, where: 'tab', reason, write: null };
      const spent_ms = (write.spent_ms ?? 0) - (write.away_ms ?? 0) + performance.now() - began;
      yield* here({ ...write, type: 'Write', spent_ms, away_ms: 0, must: true });
    }
  }

  /** @param {Placed} placed @param {AbortSignal} [signal] @returns {AsyncIterableIterator<Event>} */
  async *#write({ write, first_ms }, signal) {
    const silent = new AbortController();
    const gone = new NookError('server-gone', 'The server fell silent.', 'This tab answers by itself.');
    let timer = 0;
    const wait = (/** @type {number} */ ms) => {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(gone), Math.max(SILENCE, ms));
    };
    const both = signal ? AbortSignal.any([signal, silent.signal]) : silent.signal;
    const began = performance.now();
    let first = 0;
    try {
      wait(PATIENCE * first_ms);
      for await (const event of this.#client.request({ ...write, type: 'Write' }, { signal: both })) {
        wait(0);
        if (event.type === 'Token') first ||= performance.now() - began;
        if (event.type === 'Timing' && first) {
          this.#learn(this.#delay + WEIGHT * (Math.max(0, first - event.prefill_ms) - this.#delay));
          this.#fresh = false; // it has learnt of its own speed, too
        }
        yield event;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  close() {
    this.#gone();
    this.#client.close();
  }
}
