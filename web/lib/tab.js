// The link to an engine in this tab: a worker.

import { NookError } from './errors.js';
import { spawn } from './spawn.js';

/** @typedef {import('./client.js').Link} Link */

const HINT = 'What is stored is safe. Try again: the engine starts anew.';

/** @param {URL} base the folder of inglenook.js @returns {Link} */
export function tabLink(base) {
  const url = new URL('worker.js', base);
  const early = taken(url.href);
  // The literal form is what bundlers look for; it is the same URL unless `base` was given.
  const worker =
    early?.worker ??
    (url.href === new URL('../worker.js', import.meta.url).href && url.origin === location.origin
      ? new Worker(new URL('../worker.js', import.meta.url), { type: 'module', name: 'inglenook' })
      : spawn(url, 'inglenook'));
  let heard = false;
  let over = false;
  /** @type {Link} */
  const link = {
    post: (message, transfer) => worker.postMessage(message, transfer),
    close: () => {
      over = true;
      worker.terminate();
    },
    onmessage: () => {},
    onclose: () => {},
  };
  /** @param {string} message */
  const die = (message) => {
    if (over) return;
    link.close();
    const hint = heard
      ? HINT
      : 'Check the connection and that the page may start workers (CSP worker-src), then reload.';
    link.onclose(new NookError('worker-died', message, hint));
  };
  worker.onmessage = ({ data }) => {
    heard = true;
    if (data.type === 'Alive') navigator.locks.request(data.lock, () => die('The engine stopped unexpectedly.'));
    else if (data.type === 'Changed') link.onchange?.();
    else link.onmessage(data);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    die(heard ? `The engine stopped: ${event.message}` : 'The engine could not be loaded.');
  };
  worker.onmessageerror = () => die('The engine sent something that could not be read.');
  queueMicrotask(() => early?.heard.map((event) => worker.dispatchEvent(again(event)))); // the client listens by then
  return link;
}

/**
 * The worker that early.js has started, if it is the one that is wanted; only once.
 * @param {string} url @returns {{ worker: Worker, heard: Event[] } | undefined}
 */
function taken(url) {
  const page = /** @type {{ inglenookEarly?: { url: string, worker: Worker, heard: Event[] } }} */ (globalThis);
  const early = page.inglenookEarly;
  if (early?.url !== url) return undefined;
  page.inglenookEarly = undefined;
  return early;
}

/** @param {Event} event an event may be dispatched again only as a new one */
function again(event) {
  const { type } = event;
  if (type === 'message') return new MessageEvent(type, { data: /** @type {MessageEvent} */ (event).data });
  if (type === 'error')
    return new ErrorEvent(type, { message: /** @type {ErrorEvent} */ (event).message, cancelable: true });
  return new Event(type);
}
