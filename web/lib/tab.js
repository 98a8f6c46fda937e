// The link to the engine of this tab: a seat at it.

import { NookError } from './errors.js';
import { home, Seat } from './host.js';

/** @typedef {import('./client.js').Link} Link */

const HINT = 'What is stored is safe. Try again: the engine starts anew.';
const UNHEARD = 'Check the connection and that the page may start workers (CSP worker-src), then reload.';

/** @param {URL} base the folder of inglenook.js @returns {Link} */
export function tabLink(base) {
  const { href } = new URL('worker.js', base);
  const early = taken(href);
  const over = new AbortController();
  /** @type {Array<[object, Transferable[]]>} until the engine is heard: another window's may turn out not to start */
  const waiting = [];
  /** @type {Link} */
  const link = {
    post: (message, transfer) => {
      if (seat.heard) seat.post(message, transfer);
      else waiting.push([message, transfer]);
    },
    close: () => {
      over.abort();
      seat.leave();
    },
    onmessage: () => {},
    onclose: () => {},
  };
  /** @param {import('./host.js').Home} at @returns {Seat} */
  const sit = (at) =>
    new Seat(at, href, {
      early: at === window ? early?.worker : undefined,
      hear: (message) => {
        for (const [first, transfer] of waiting.splice(0)) seat.post(first, transfer);
        if (message.type === 'Changed') link.onchange?.();
        else link.onmessage(message);
      },
      fail: (message) => {
        if (over.signal.aborted) return;
        if (!seat.heard && at !== window)
          seat = sit(window); // that page may not start workers, this one perhaps may
        else {
          over.abort();
          link.onclose(new NookError('worker-died', message, seat.heard ? HINT : UNHEARD));
        }
      },
    });
  const top = home();
  let seat = sit(top);
  if (top !== window) addEventListener('pagehide', () => link.close(), { signal: over.signal }); // a frame that goes
  // the client listens by then
  queueMicrotask(() =>
    early?.failed.map(({ message }) => early.worker.dispatchEvent(new ErrorEvent('error', { message }))),
  );
  return link;
}

/**
 * The worker that early.js has started, if it is the one that is wanted; only once.
 * @param {string} url @returns {{ worker: Worker, failed: ErrorEvent[] } | undefined}
 */
function taken(url) {
  const page = /** @type {{ inglenookEarly?: { url: string, worker: Worker, failed: ErrorEvent[] } }} */ (globalThis);
  const early = page.inglenookEarly;
  if (early?.url !== url) return undefined;
  page.inglenookEarly = undefined;
  return early;
}
