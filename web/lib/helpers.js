// Threads that help the engine build an index, where the page is isolated. Pyodide's memory cannot be shared, so what a
// helper works on is copied into memory that all helpers share, and what comes of it back. Both ends may wait: they are
// workers.

import { BASE } from '../base.js';
import { fetchAsset } from './assets.js';
import { spawn } from './spawn.js';
import { relaxed } from './wasm-model.js';

/** States of a helper; at first it is 0. */
export const BUSY = 1;
export const DONE = 2;
export const FAILED = 3;
/** Words of a call: state, function, how many arguments, arguments. */
export const CALLS = 32;
/** The functions that helpers know. */
export const NAMES = ['nook_assign'];

const PAGE = 65536;
const STACK = 65536;
const FIRST_PAGES = 4;
const MOST_PAGES = 16384; // what the threaded builds declare
const ROOM = 16 << 20; // what one call may need
const MOST = 4; // helpers
const LATE = 60_000; // ms after which a helper is taken for dead

const rounded = (/** @type {number} */ at) => Math.ceil(at / 64) * 64;

export class Helpers {
  /** @type {any} */
  #python;
  /** @type {WebAssembly.Memory | undefined} */
  #memory;
  #base = 0;
  /** @type {Array<Array<[number, number, number]>>} by helper what is to be copied back: from, to, bytes */
  #results = [];
  /** @type {Promise<number> | undefined} */
  #started;

  /** @param {any} python Pyodide */
  constructor(python) {
    this.#python = python;
  }

  /** Start them, once. @returns {Promise<number>} how many there are: none where memory cannot be shared */
  start() {
    this.#started ??= this.#start().catch(() => 0); // alone it takes longer, and is as good
    return this.#started;
  }

  async #start() {
    const count = Math.min(MOST, (navigator.hardwareConcurrency || 1) - 1);
    if (!self.crossOriginIsolated || count < 1) return 0;
    const code = await fetchAsset(`static/kernels/vectors.${relaxed() ? 'relaxed' : 'simd'}.threads.wasm`);
    const module = await WebAssembly.compile(code);
    const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: MOST_PAGES, shared: true });
    /** @type {any} */
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    this.#base = rounded(exports.__heap_base.value);
    const needed = Math.ceil((this.#base + count * (ROOM + STACK)) / PAGE) - FIRST_PAGES;
    if (needed > 0) memory.grow(needed);
    this.#memory = memory;
    const seats = Array.from({ length: count }, (_, me) => {
      const thread = spawn(new URL('vectors-thread.js', BASE), `inglenook-vectors-${me}`);
      return new Promise((resolve, reject) => {
        thread.onmessage = resolve;
        thread.onerror = () => reject(new Error('a helper did not start'));
        thread.postMessage({ module, memory, stack: this.#slot(me) + ROOM + STACK, slot: this.#slot(me) });
      });
    });
    await Promise.all(seats);
    return count;
  }

  /** @param {number} me where its room begins, with the words of its call */
  #slot(me) {
    return this.#base + me * (ROOM + STACK);
  }

  /** @param {number} me */
  #words(me) {
    return new Int32Array(/** @type {WebAssembly.Memory} */ (this.#memory).buffer, this.#slot(me), CALLS);
  }

  /**
   * Let a helper call a function beside what is done here. Of each argument a letter says what it is: `n`umber, bytes of
   * Python's memory to be `r`ead, or to be `w`ritten when it is done; `values` are numbers or addresses, `sizes` bytes.
   * @param {number} me @param {string} name @param {string} kinds @param {number[]} values @param {number[]} sizes
   * @returns {boolean} false where there is no room for it
   */
  begin(me, name, kinds, values, sizes) {
    const from = this.#python._module.HEAPU8;
    const to = new Uint8Array(/** @type {WebAssembly.Memory} */ (this.#memory).buffer);
    const end = this.#slot(me) + ROOM;
    let at = rounded(this.#slot(me) + 4 * CALLS);
    const numbers = [];
    /** @type {Array<[number, number, number]>} */
    const results = [];
    for (const [i, kind] of [...kinds].entries()) {
      const [value, size] = [values[i], sizes[i]];
      if (kind === 'n') {
        numbers.push(value);
        continue;
      }
      if (at + size > end) return false;
      if (kind === 'r') to.set(from.subarray(value, value + size), at);
      else results.push([at, value, size]);
      numbers.push(at);
      at = rounded(at + size);
    }
    this.#results[me] = results;
    const words = this.#words(me);
    words.set([NAMES.indexOf(name), numbers.length, ...numbers], 1);
    Atomics.store(words, 0, BUSY);
    Atomics.notify(words, 0);
    return true;
  }

  /** Wait for a helper. @param {number} me @returns {boolean} false where it has failed, and nothing was written */
  end(me) {
    const words = this.#words(me);
    Atomics.wait(words, 0, BUSY, LATE);
    if (Atomics.load(words, 0) !== DONE) return false;
    const from = new Uint8Array(/** @type {WebAssembly.Memory} */ (this.#memory).buffer);
    const to = this.#python._module.HEAPU8;
    for (const [at, value, size] of this.#results[me]) to.set(from.subarray(at, at + size), value);
    return true;
  }
}
