// What everything in the page shares: the open library, its cards, and what searches are limited to.

import { open } from '../inglenook.js';
import { serverUrl } from '../lib/remote.js';
import { given } from './key.js';

/** @typedef {import('../inglenook.js').Nook} Nook */
/** @typedef {import('../wire.gen.js').Card} Card */
/** @typedef {import('../wire.gen.js').Filter} Filter */
/** @typedef {import('../wire.gen.js').StatusMessage} Status */

export const NAME = 'notes';

/** How long other tabs write nothing before the shelf is read again, in milliseconds. */
const SETTLE = 300;

/** Events: "cards" (the library changed), "filter", "place" (tab or server), "help" (may the server write), "asked", "learn" (something may wait for the encoder). */
export class Room extends EventTarget {
  /** @type {Nook | undefined} */ #tab;
  /** @type {Nook | undefined} */ #server;
  /** @type {Card[]} */ cards = [];
  /** @type {Filter} */ filter = {};
  /** "" searches everything. */
  collection = '';
  opened = false;
  /** Whether the server may write for this tab, by its owner's leave. */
  helped = false;
  /** The search that is shown, and what it took in milliseconds. */
  asked = { query: '', ms: 0, embed_ms: 0 };
  #settle = 0;
  #ready = Promise.withResolvers();
  network;

  /** @param {import('./network.js').Network} network */
  constructor(network) {
    super();
    this.network = network;
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.opened) this.refresh().catch(() => {}); // news may have been missed while frozen
    });
    network.addEventListener('switch', () => network.off && this.useTab());
  }

  /** @returns {Nook} the library questions go to */
  get nook() {
    const nook = this.#server ?? this.#tab;
    if (!nook) throw new Error('The library is not open yet.');
    return nook;
  }

  /** Whose library it is. @returns {'tab' | 'server'} */
  get place() {
    return this.#server ? 'server' : 'tab';
  }

  /** Where answers are made. @returns {'tab' | 'both' | 'server'} */
  get where() {
    return this.#server ? 'server' : this.helped ? 'both' : 'tab';
  }

  /** When the library is open: what people do before waits for it. */
  get ready() {
    return this.#ready.promise;
  }

  /** @param {import('../inglenook.js').OnProgress} onProgress */
  async open(onProgress) {
    try {
      this.#tab = await open(NAME, { onProgress });
      this.#tab.onchange = () => {
        clearTimeout(this.#settle);
        this.#settle = setTimeout(() => this.refresh().catch(() => {}), SETTLE);
      };
      this.opened = true;
      await this.refresh();
      this.#ready.resolve(undefined);
    } catch (error) {
      this.#ready.reject(error);
      throw error;
    }
  }

  /**
   * Let the server of this site write where this tab would be too slow. @throws if it cannot be reached
   * @returns {ReturnType<Nook['writeWith']>} how fast it is
   */
  async useHelp() {
    await this.ready;
    const told = await /** @type {Nook} */ (this.#tab).writeWith(serverUrl(), { key: given() });
    await this.#useOwn();
    this.#helped(true);
    return told;
  }

  /** Send questions to the server of this site. @throws if it cannot be reached; then the tab goes on answering */
  async useServer() {
    this.#server = await open(NAME, { server: serverUrl(), key: given() });
    this.#alone();
    await this.#moved();
  }

  /** From now on nothing leaves this tab. */
  async useTab() {
    this.#alone();
    await this.#useOwn();
  }

  #alone() {
    this.#tab?.writeAlone();
    this.#helped(false);
  }

  /** @param {boolean} helped */
  #helped(helped) {
    this.helped = helped;
    this.dispatchEvent(new Event('help'));
  }

  async #useOwn() {
    if (!this.#server) return;
    this.#server.dispose();
    this.#server = undefined;
    await this.#moved();
  }

  async #moved() {
    this.limit('', {});
    this.dispatchEvent(new Event('place'));
    await this.refresh();
  }

  /** Read the list of documents anew. */
  async refresh() {
    this.cards = await this.nook.documents();
    if (this.collection && !this.collections().has(this.collection)) this.limit('', this.filter);
    this.dispatchEvent(new Event('cards'));
  }

  /**
   * Have the encoder ready and whatever waits for it embedded, beside everything else. Search works by words meanwhile.
   * @param {import('../inglenook.js').OnProgress} onProgress
   */
  async learn(onProgress) {
    if (!this.cards.length || this.place !== 'tab') return;
    await this.nook.prepare('encoder', { onProgress });
    if (this.cards.some((card) => card.vectors < card.chunks)) await this.refresh();
  }

  /** Documents per collection, by name. @returns {Map<string, Card[]>} */
  collections() {
    /** @type {Map<string, Card[]>} */
    const groups = new Map();
    for (const card of this.cards) groups.set(card.collection, [...(groups.get(card.collection) ?? []), card]);
    return new Map([...groups].sort(([a], [b]) => a.localeCompare(b)));
  }

  /** What searches are limited to. @param {string} collection @param {Filter} filter */
  limit(collection, filter) {
    this.collection = collection;
    this.filter = filter;
    this.dispatchEvent(new Event('filter'));
  }

  /** A search is shown, or none any more. @param {string} query @param {{ ms: number, embed_ms: number }} [took] */
  shown(query, took) {
    this.asked = { ...this.asked, ...took, query };
    this.dispatchEvent(new Event('asked'));
  }

  /** The filter a search sends. @returns {Filter} */
  wanted() {
    return this.collection ? { ...this.filter, collections: [this.collection] } : this.filter;
  }
}
