// A sign of life. A worker that dies (out of memory, a crash, a kill) fires no event in the page; but the Web Locks it
// held are released. So the engine's worker, which imports this first, holds a lock for as long as it lives, and the
// page waits for the same lock.

const name = `inglenook-alive-${crypto.randomUUID()}`;

/** The lock's name, once it is held. @type {Promise<string>} */
export const alive = new Promise((resolve) => {
  navigator.locks?.request(name, () => {
    resolve(name);
    return new Promise(() => {});
  });
});
