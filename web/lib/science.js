// The client of web/science-worker.js: scikit-learn, loaded when a map is asked for and gone when it is made.
// Python reaches it through the engine's driver (pysrc/inglenook/platform/browser/engine.py).

import { BASE } from '../base.js';
import { abortError, NookError } from './errors.js';
import { spawn } from './spawn.js';

/**
 * Topics of vectors (pysrc/inglenook/topics/cluster.py).
 * @param {Float32Array<ArrayBuffer>} vectors rows of `width` numbers, handed over
 * @param {number} width @param {number} groups the most topics
 * @param {(done: number, total: number) => void} progress bytes of scikit-learn that are here
 * @param {AbortSignal} signal ends the work at once, whatever it is at
 * @returns {Promise<Uint8Array[]>} float32: the topics' middles, and the plane they lie apart in
 */
export function cluster(vectors, width, groups, progress, signal) {
  const worker = spawn(new URL('science-worker.js', BASE), 'science');
  /** @type {Promise<Uint8Array[]>} */
  const made = new Promise((resolve, reject) => {
    const fail = (/** @type {string} */ what) =>
      reject(new NookError('science', `The map could not be made: ${what}.`, 'Close other tabs and try again.'));
    worker.onmessage = ({ data }) => {
      if (data.made) resolve(data.made);
      else if (data.error) reject(new NookError(data.error.code, data.error.message, data.error.hint));
      else progress(data.done, data.total);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      fail(event.message || 'its worker did not start');
    };
    worker.onmessageerror = () => fail('its worker sent what could not be read');
    signal.addEventListener('abort', () => reject(abortError(signal)));
    worker.postMessage({ vectors, width, groups }, [vectors.buffer]);
  });
  return made.finally(() => worker.terminate());
}
