// The service worker, and the switch that forbids requests.

import { BASE } from '../base.js';

const CHANNEL = 'inglenook-network';

/** @typedef {{ at: number, url: string, from: 'network' | 'cache' | 'blocked' | 'sent', who: string, status: number, size: number }} Entry */

/** How long a first visit waits for the service worker before the engine starts without it, in milliseconds. */
const PATIENCE = 1500;

/**
 * Events: "entry" (a request was seen; `detail` is an Entry), "switch".
 * The service worker stands between this site's pages, their workers and the network. While the switch is off it answers
 * from what is stored and refuses the rest. WebSockets pass it by, so the page refuses those itself.
 */
export class Network extends EventTarget {
  off = false;
  #channel = new BroadcastChannel(CHANNEL);

  constructor() {
    super();
    this.#channel.onmessage = ({ data }) => {
      if (data.type === 'entry') this.dispatchEvent(new CustomEvent('entry', { detail: data.entry }));
      else if (data.type === 'state') this.#set(data.off);
    };
    const Socket = globalThis.WebSocket;
    const network = this;
    globalThis.WebSocket = class extends Socket {
      /** @param {string | URL} url @param {string | string[]} [protocols] */
      constructor(url, protocols) {
        if (network.off) {
          network.#note(String(url), 'blocked');
          throw new DOMException('The network is switched off.', 'SecurityError');
        }
        network.#note(String(url), 'network');
        super(url, protocols);
      }

      /** @param {string | BufferSource | Blob} data */
      send(data) {
        const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
        network.#note(this.url, 'sent', bytes instanceof Blob ? bytes.size : bytes.byteLength);
        super.send(data);
      }
    };
  }

  /** Whether the switch can be kept: only with a service worker in charge of this page. */
  get enforced() {
    return Boolean(navigator.serviceWorker?.controller);
  }

  /** Start the service worker, and let it take charge before the engine makes its requests. */
  async ready() {
    if (!navigator.serviceWorker) return;
    const registered = navigator.serviceWorker
      .register(new URL('sw.js', BASE), { type: 'module', updateViaCache: 'all' })
      .catch((error) => console.warn('No service worker: this page does not work offline.', error));
    if (!this.enforced) {
      if (!(await registered)) return;
      await new Promise((resolve) => {
        navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true });
        setTimeout(resolve, PATIENCE);
      });
    }
    navigator.serviceWorker.controller?.postMessage({ type: 'hello', since: performance.timeOrigin });
  }

  /** @param {boolean} off */
  turn(off) {
    navigator.serviceWorker?.controller?.postMessage({ type: 'switch', off });
    this.#set(off);
  }

  /** @param {boolean} off */
  #set(off) {
    if (this.off === off) return;
    this.off = off;
    this.dispatchEvent(new Event('switch'));
  }

  /** @param {string} url @param {'network' | 'blocked' | 'sent'} from @param {number} [size] bytes */
  #note(url, from, size = 0) {
    const full = new URL(url, location.href).href;
    const detail = { at: Date.now(), url: full, from, who: 'WebSocket', status: 0, size };
    this.dispatchEvent(new CustomEvent('entry', { detail }));
  }
}
