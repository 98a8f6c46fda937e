// Locks that all tabs of a site share.

/**
 * @typedef {object} Ticket
 * @property {Promise<(() => void) | undefined>} granted lets go; undefined if it is taken and was not to be waited for
 * @property {() => void} stop wait no longer, and let go of what came meanwhile
 */

/**
 * Ask for a lock. Where the browser has none (pages without an origin share nothing), it is given at once.
 * @param {string} name @param {{ shared?: boolean, wait?: boolean }} [how] @returns {Ticket}
 */
export function lock(name, { shared = false, wait = true } = {}) {
  const locks = globalThis.navigator?.locks;
  if (!locks) return free();
  const stopper = new AbortController();
  const { signal } = stopper;
  const granted = new Promise((resolve, reject) => {
    const held = (/** @type {Lock | null} */ lock) =>
      lock &&
      new Promise((release) => {
        signal.addEventListener('abort', release);
        resolve(() => release(undefined));
      });
    const how = { mode: /** @type {LockMode} */ (shared ? 'shared' : 'exclusive') };
    const request = locks.request(name, wait ? { ...how, signal } : { ...how, ifAvailable: true }, held);
    request.then(() => resolve(undefined), reject);
  });
  return { granted, stop: () => stopper.abort() };
}

/** A lock of something that nobody else can have. @returns {Ticket} */
export const free = () => ({ granted: Promise.resolve(() => {}), stop() {} });
