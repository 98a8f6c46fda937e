// One arm in a page of its own: built once, then asked in rounds. tests/bench/index.py calls `self.arm`.

import { ARMS } from './arms.js';

/** @param {string} path */
const floats = async (path) => new Float32Array(await (await fetch(path)).arrayBuffer());

/** @type {import('./arms.js').Arm} */
let arm;
let queries = new Float32Array(0);
let dim = 0;

self.progress = 0;
self.arm = {
  /** @param {Record<string, any>} what @returns {Promise<any>} */
  async build(what) {
    dim = what.dim;
    queries = await floats(what.queries);
    const vectors = what.vectors ? await floats(what.vectors) : new Float32Array(0);
    const began = performance.now();
    arm = await ARMS[what.name](
      vectors,
      dim,
      (done) => {
        self.progress = done;
      },
      { ...what, first: queries.slice(0, dim) },
    );
    const seconds = (performance.now() - began) / 1e3;
    return { seconds, efforts: arm.efforts, more: arm.more ?? {}, first: arm.first };
  },

  /** What only our arm can do. @param {string} op @param {object} how */
  call: (op, how) => arm.call?.(op, how),

  /**
   * Queries `first` to `last` (all of them by default) once.
   * @param {{ k: number, effort: number, first?: number, last?: number }} how
   * @returns {Promise<{ ids: number[][], ms: number[] }>}
   */
  async round({ k, effort, first = 0, last = queries.length / dim }) {
    if (arm.round) return arm.round(queries.slice(first * dim, last * dim), k, effort);
    const ids = [];
    const ms = [];
    for (let i = first; i < last; i++) {
      const q = queries.slice(i * dim, (i + 1) * dim);
      const began = performance.now();
      const found = await arm.query(q, k, effort);
      ms.push(performance.now() - began);
      ids.push(Array.from(found, Number));
    }
    return { ids, ms };
  },
};
self.onarm?.();
