// The one engine of a tab. All libraries that are open in a page, and in the frames of its origin within it, are in one
// engine, so that the models are in memory once and take turns (inglenook.elastic.turns). Its worker belongs to the
// topmost window of the origin, which outlives the frames in it. Tabs share no engine: a browser may put a hidden one
// to sleep, and nobody should have to wait for it.

import { spawn } from './spawn.js';

/** @typedef {{ worker: Worker, users: Set<Seat> }} Engine */
/** @typedef {Window & typeof globalThis & { inglenookEngines?: Map<string, Engine> }} Home */

/** The topmost window of this origin around this one. @returns {Home} */
export function home() {
  /** @type {Home} */
  let at = window;
  while (at.parent !== at && ours(at.parent)) at = /** @type {Home} */ (at.parent);
  return at;
}

/** @param {Window} other */
function ours(other) {
  try {
    return Boolean(other.document);
  } catch {
    return false; // another origin's
  }
}

/** A place at the engine of a window. The engine starts with its first user and ends with its last. */
export class Seat {
  #stop = new AbortController();
  #port;
  /** Whether the engine has said something. */
  heard = false;

  /**
   * @param {Home} at @param {string} url of the engine's worker
   * @param {{ early?: Worker, hear: (message: any) => void, fail: (message: string) => void }} how `early` is a worker
   *   that was started already; `fail` is called at most once
   */
  constructor(at, url, { early, hear, fail }) {
    this.at = at;
    this.url = url;
    at.inglenookEngines ??= new Map();
    let engine = at.inglenookEngines.get(url);
    if (engine) early?.terminate();
    else {
      engine = { worker: early ?? start(at, url), users: new Set() };
      at.inglenookEngines.set(url, engine);
    }
    engine.users.add(this);
    const { signal } = this.#stop;
    const die = (/** @type {string} */ message) => {
      if (signal.aborted) return;
      this.leave(true);
      fail(message);
    };
    engine.worker.addEventListener(
      'error',
      (event) => {
        event.preventDefault();
        die(this.heard ? `The engine stopped: ${event.message}` : 'The engine could not be loaded.');
      },
      { signal },
    );
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessageerror = () => die('The engine sent something that could not be read.');
    port1.onmessage = ({ data }) => {
      this.heard = true;
      if (data.type === 'Alive') {
        const gone = () => die('The engine stopped unexpectedly.');
        navigator.locks.request(data.lock, { signal }, gone).catch(() => {}); // left before
      } else hear(data);
    };
    engine.worker.postMessage({ type: 'Join' }, [port2]);
  }

  /** @param {object} message @param {Transferable[]} transfer */
  post(message, transfer) {
    this.#port.postMessage(message, transfer);
  }

  /** @param {boolean} [broken] the engine is of no use to others either */
  leave(broken = false) {
    this.#stop.abort();
    this.#port.postMessage({ type: 'Leave' });
    this.#port.close();
    const engine = this.at.inglenookEngines?.get(this.url);
    if (!engine?.users.delete(this) || (engine.users.size && !broken)) return;
    this.at.inglenookEngines?.delete(this.url);
    engine.worker.terminate();
  }
}

/** @param {Home} at @param {string} url */
function start(at, url) {
  // The literal form is what bundlers look for; it is the same URL unless `base` was given.
  const literal = new URL('../worker.js', import.meta.url);
  return at === window && url === literal.href && literal.origin === location.origin
    ? new Worker(new URL('../worker.js', import.meta.url), { type: 'module', name: 'inglenook' })
    : spawn(new URL(url), 'inglenook', at);
}
