// Work that follows typing: one run at a time, and after it only the newest wish. No timers: as fast as the engine is.

/**
 * @template A, R
 * @param {(argument: A) => Promise<R>} work
 * @param {(result: R, argument: A) => void} show called unless a newer wish waits
 * @param {(error: unknown) => void} fail
 * @returns {(argument: A) => void}
 */
export function latest(work, show, fail) {
  let busy = false;
  /** @type {[A] | undefined} */
  let next;
  return async function wish(argument) {
    next = [argument];
    if (busy) return;
    busy = true;
    while (next) {
      const [now] = next;
      next = undefined;
      try {
        const result = await work(now);
        if (!next) show(result, now);
      } catch (error) {
        if (!next) fail(error);
      }
    }
    busy = false;
  };
}
