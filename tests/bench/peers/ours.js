// Our arm: Pyodide with the engine in a worker, as the app has it, and ours.py in it.

/** @typedef {import('./arms.js').Arm} Arm */

/**
 * @param {Float32Array} vectors @param {number} dim @param {(done: number) => void} report
 * @param {Record<string, any>} options @returns {Promise<Arm>}
 */
export async function ours(vectors, dim, report, options) {
  const worker = new Worker('/peers/ours-worker.js', { type: 'module' });
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const waiting = new Map();
  let count = 0;
  worker.onmessage = ({ data: { id, done, result, error } }) => {
    if (done !== undefined) return report(done);
    const call = waiting.get(id);
    waiting.delete(id);
    if (error) call?.reject(new Error(error));
    else call?.resolve(result);
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message));
  };
  const ask = (/** @type {any} */ message, /** @type {Transferable[]} */ transfer = []) =>
    new Promise((resolve, reject) => {
      const id = count++;
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, ...message }, transfer);
    });
  const made = await ask(
    { op: options.op ?? 'build', vectors, queries: options.first, dim, options: JSON.stringify(options) },
    [vectors.buffer],
  );
  const more = { ...made.more, page_s: performance.now() / 1e3 };
  return {
    efforts: made.efforts,
    more,
    first: made.ids,
    query: () => {
      throw new Error('asked in rounds');
    },
    round: (queries, k, effort) => ask({ op: 'round', queries, k, effort, options: '{}' }),
    call: (/** @type {string} */ op, /** @type {object} */ how) => ask({ op, options: JSON.stringify(how) }),
  };
}
