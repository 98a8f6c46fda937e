// Pages in IndexedDB: one database per nook, one transaction per commit. Knows nothing of what the pages mean.
//
// Two tabs may have a nook open. Each commit holds the nook's Web Lock, raises its generation and says so on a
// BroadcastChannel, so the other tab reads again what changed. Where the browser gives no database (private windows,
// sandboxed frames) pages are kept in memory, and `status` says so.

import { giveRoom } from './assets.js';
import { NookError } from './errors.js';
import { free, lock } from './lock.js';

/** @typedef {Record<string, unknown>} Fields */
/** @typedef {{ generation: number, keys: string[], lost?: boolean }} Change another tab's commit, or data that is gone */
/** @typedef {{ usage: number, quota: number, persisted: boolean }} Estimate bytes */
/** @typedef {{ keys: string[], pages: Array<Uint8Array | null | undefined> }} Expected pages as another tab must have left them */
/** @typedef {{ keys: string[], pages: Uint8Array[], deletes: string[], expected?: Expected }} Commit */

const PAGES = 'pages';
const STATE = 'state';

/** What takes the database from version n to n + 1; the length of this list is the current version. */
const UPGRADES = [
  (/** @type {IDBDatabase} */ db) => db.createObjectStore(PAGES), // key → Uint8Array
  (/** @type {IDBDatabase} */ db) => db.createObjectStore(STATE), // 'generation' → number of commits so far
];

/** @param {string} name */
export const databaseName = (name) => `inglenook:${name}`;

/**
 * Open the nook `name`, made if it is not there.
 * @param {string} name
 * @returns {Promise<Store>}
 * Throws NookError 'newer-format' | 'blocked'. Without a database, the store's status is 'not-stored'.
 */
export async function openStore(name) {
  const store = new Store(name);
  await store.open();
  return store;
}

/** Forget the nook `name` with all it holds; other tabs that have it open lose it. @param {string} name */
export async function deleteStore(name) {
  await settled(indexedDB.deleteDatabase(databaseName(name)));
}

export class Store {
  /** @type {IDBDatabase | undefined} */
  #db;
  /** @type {Promise<void> | undefined} */
  #opening;
  /** @type {Map<string, Uint8Array> | undefined} pages, where there is no database */
  #memory;
  /** @type {Set<(change: Change) => void>} */
  #listeners = new Set();
  /** @type {BroadcastChannel | undefined} */
  #channel;
  #closed = false;

  /** Commits so far, by all tabs, as this one knows. */
  generation = 0;
  /** Why nothing is stored, '' if it is. */
  reason = '';

  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  /** 'stored' in this browser, or 'not-stored': in memory, gone with the tab. */
  get status() {
    return this.#memory ? 'not-stored' : 'stored';
  }

  async open() {
    await this.#ready();
    if (!this.#memory && !this.#channel && typeof BroadcastChannel === 'function') {
      this.#channel = new BroadcastChannel(databaseName(this.name));
      this.#channel.onmessage = ({ data }) => this.#heard(data);
    }
  }

  /**
   * Pages in the order of the keys, null where there is none.
   * @param {string[]} keys @returns {Promise<Array<Uint8Array | null>>}
   */
  async get(keys) {
    const db = await this.#ready();
    if (!db) return keys.map((key) => this.#memory?.get(key) ?? null);
    return pagesOf(db, keys);
  }

  /**
   * `get` for another language: pages as one run of bytes and their lengths, -1 where there is none.
   * @param {string} keys joined by line feeds @returns {Promise<{ bytes: Uint8Array, lengths: Int32Array }>}
   */
  async gather(keys) {
    return joined(await this.get(keys.split('\n')));
  }

  /**
   * Every page whose key starts with `prefix`, in the order of keys.
   * @param {string} prefix @returns {Promise<{ keys: string[], pages: Uint8Array[] }>}
   */
  async scan(prefix) {
    const db = await this.#ready();
    if (!db) {
      const keys = [...(this.#memory?.keys() ?? [])].filter((key) => key.startsWith(prefix)).sort();
      return { keys, pages: keys.map((key) => /** @type {Uint8Array} */ (this.#memory?.get(key))) };
    }
    const range = prefix ? IDBKeyRange.bound(prefix, `${prefix}\uffff`) : undefined;
    const store = db.transaction(PAGES).objectStore(PAGES);
    const [keys, pages] = await Promise.all([settled(store.getAllKeys(range)), settled(store.getAll(range))]);
    return { keys: keys.map(String), pages };
  }

  /**
   * The same in portions, each read when it is asked for, for what is too much for memory.
   * @param {string} prefix @param {number} [portion] pages
   * @returns {AsyncGenerator<{ keys: string[], pages: Uint8Array[] }>}
   */
  async *walk(prefix, portion = 256) {
    let after = prefix;
    for (let whole = true; whole; ) {
      const db = await this.#ready();
      if (!db) return yield this.scan(prefix);
      const range = IDBKeyRange.bound(after, `${prefix}\uffff`, after !== prefix);
      const store = db.transaction(PAGES).objectStore(PAGES);
      const found = [settled(store.getAllKeys(range, portion)), settled(store.getAll(range, portion))];
      const [keys, pages] = await Promise.all(/** @type {[Promise<IDBValidKey[]>, Promise<Uint8Array[]>]} */ (found));
      if (keys.length) yield { keys: keys.map(String), pages };
      whole = keys.length === portion;
      after = String(keys.at(-1));
    }
  }

  /** How many pages have keys that start with `prefix`. @param {string} prefix @returns {Promise<number>} */
  async count(prefix) {
    const db = await this.#ready();
    if (!db) return (await this.scan(prefix)).keys.length;
    return settled(
      db
        .transaction(PAGES)
        .objectStore(PAGES)
        .count(IDBKeyRange.bound(prefix, `${prefix}\uffff`)),
    );
  }

  /**
   * Write and delete pages: all of it or nothing, durable when it resolves. A key in both is written.
   * @param {string[]} keys @param {Uint8Array[]} pages @param {string[]} deletes
   * @param {Expected} [expected] what has to be stored now, or nothing is written
   * Throws NookError 'quota' | 'conflict' | 'storage-lost' | 'storage'; what was stored is then as it was.
   */
  async commit(keys, pages, deletes, expected) {
    if (keys.length + deletes.length === 0) return;
    await this.#exclusively(async () => {
      const db = await this.#ready();
      if (!db) {
        const memory = this.#memory;
        if (expected?.keys.some((key, i) => !same(memory?.get(key), expected.pages[i]))) throw conflict(this.name);
        for (const key of deletes) this.#memory?.delete(key);
        keys.forEach((key, i) => void this.#memory?.set(key, pages[i].slice()));
        this.generation++;
        return;
      }
      const commit = { keys, pages, deletes, expected };
      this.generation = await write(db, commit, this.generation).catch(async (error) => {
        if (error.code !== 'quota' || !(await giveRoom())) throw error;
        return write(db, commit, this.generation);
      });
    });
    this.#channel?.postMessage({ generation: this.generation, keys: [...new Set([...keys, ...deletes])] });
  }

  /**
   * Call `listener` when another tab has committed, or when the browser has thrown the data away (`lost`).
   * @param {(change: Change) => void} listener @returns {() => void} stops it
   */
  changes(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Ask for a lock that all tabs with this nook share. @param {string} what @param {boolean} wait */
  lock(what, wait) {
    return this.#memory ? free() : lock(`${databaseName(this.name)}:${what}`, { wait });
  }

  /** Bytes taken: of all nooks of this site, as the browser counts them; in memory, of this one's pages. */
  async size() {
    if (this.#memory) return [...this.#memory.values()].reduce((sum, page) => sum + page.byteLength, 0);
    return (await this.estimate()).usage;
  }

  /** Ask the browser never to clear this site's data by itself. @returns {Promise<boolean>} */
  async persist() {
    const storage = globalThis.navigator?.storage;
    if (this.#memory || !storage?.persist) return false;
    return (await storage.persisted()) || storage.persist();
  }

  /** What this site takes of what it may take. @returns {Promise<Estimate>} */
  async estimate() {
    const storage = globalThis.navigator?.storage;
    const { usage = 0, quota = 0 } = (await storage?.estimate?.()) ?? {};
    return { usage, quota, persisted: (await storage?.persisted?.()) ?? false };
  }

  close() {
    this.#closed = true;
    this.#channel?.close();
    this.#db?.close();
    this.#db = undefined;
    this.#listeners.clear();
  }

  /** The database, opened again if the browser closed it; undefined where pages are in memory. */
  async #ready() {
    if (this.#closed) throw new NookError('closed', `The nook “${this.name}” was closed.`, 'Open it again.');
    if (!this.#db && !this.#memory) {
      this.#opening ??= this.#connect().finally(() => {
        this.#opening = undefined;
      });
      await this.#opening;
    }
    return this.#db;
  }

  async #connect() {
    let db;
    try {
      if (!globalThis.indexedDB) throw new Error('this browser offers no IndexedDB here');
      db = await openDatabase(databaseName(this.name));
    } catch (error) {
      if (error instanceof NookError) throw error;
      if (this.generation) throw lost(this.name); // it was there a moment ago: memory would hide the loss
      this.reason = error instanceof Error ? error.message : String(error);
      this.#memory = new Map();
      return;
    }
    const generation = await currentGeneration(db);
    if (generation < this.generation) {
      db.close();
      throw lost(this.name);
    }
    this.generation = generation;
    db.onversionchange = ({ newVersion }) => {
      db.close(); // another tab deletes the nook or has a newer Inglenook: never stand in its way
      this.#gone(db, newVersion === null);
    };
    db.onclose = () => this.#gone(db, true);
    this.#db = db;
    if (this.#closed) this.close();
  }

  /** @param {IDBDatabase} db @param {boolean} perhaps whether its data may be gone too */
  #gone(db, perhaps) {
    if (this.#db !== db) return;
    this.#db = undefined;
    if (perhaps) this.#tell({ generation: this.generation, keys: [], lost: true });
  }

  /** @param {Change} change */
  #heard(change) {
    if (change.generation > this.generation) this.generation = change.generation;
    this.#tell(change);
  }

  /** @param {Change} change */
  #tell(change) {
    for (const listener of this.#listeners) listener(change);
  }

  /** @param {() => Promise<void>} work */
  async #exclusively(work) {
    const locks = globalThis.navigator?.locks;
    if (!locks || this.#memory) return work(); // a transaction is atomic without it
    await locks.request(databaseName(this.name), work);
  }
}

/**
 * @param {string} name @returns {Promise<IDBDatabase>}
 * Another tab with an older Inglenook closes its connection when asked; one that does not is reported, not waited for.
 */
function openDatabase(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, UPGRADES.length);
    let late = false;
    request.onupgradeneeded = ({ oldVersion }) => {
      for (const upgrade of UPGRADES.slice(oldVersion)) upgrade(request.result);
    };
    request.onblocked = () => {
      late = true;
      const hint = 'Close the other tabs that show it, then reload this one.';
      reject(new NookError('blocked', 'Another tab has this nook open with an older Inglenook.', hint));
    };
    request.onsuccess = () => (late ? request.result.close() : resolve(request.result));
    request.onerror = () => {
      if (request.error?.name !== 'VersionError') return reject(request.error);
      const hint = 'Reload the page to get the newer Inglenook.';
      reject(new NookError('newer-format', 'This nook was stored by a newer Inglenook.', hint));
    };
  });
}

/** @param {IDBDatabase} db @returns {Promise<number>} */
async function currentGeneration(db) {
  return (await settled(db.transaction(STATE).objectStore(STATE).get('generation'))) ?? 0;
}

/**
 * One transaction: pages and the generation, which it returns.
 * @param {IDBDatabase} db @param {Commit} commit @param {number} known the generation may only grow
 * @returns {Promise<number>}
 */
function write(db, { keys, pages, deletes, expected }, known) {
  return new Promise((resolve, reject) => {
    let generation = known;
    const fail = (/** @type {any} */ error) => reject(explained(error, db.name));
    try {
      const transaction = db.transaction([PAGES, STATE], 'readwrite', { durability: 'strict' });
      transaction.oncomplete = () => resolve(generation);
      transaction.onabort = () => fail(transaction.error);
      const store = transaction.objectStore(PAGES);
      const state = transaction.objectStore(STATE);
      const stop = (/** @type {any} */ error) => {
        transaction.onabort = () => fail(error);
        transaction.abort();
      };
      expected?.keys.forEach((key, i) => {
        const request = store.get(key);
        request.onsuccess = () => same(request.result, expected.pages[i]) || stop(conflict(db.name));
      });
      const now = state.get('generation');
      now.onsuccess = () => {
        generation = Math.max(now.result ?? 0, known) + 1;
        state.put(generation, 'generation');
      };
      try {
        for (const key of deletes) store.delete(key);
        keys.forEach((key, i) => void store.put(pages[i], key));
      } catch (error) {
        stop(error);
      }
    } catch (error) {
      fail(error); // the connection was closed under us
    }
  });
}

/**
 * Pages by one transaction: answers come in order, so the last one brings all.
 * @param {IDBDatabase} db @param {string[]} keys @returns {Promise<Array<Uint8Array | null>>}
 */
function pagesOf(db, keys) {
  return new Promise((resolve, reject) => {
    if (!keys.length) return resolve([]);
    const transaction = db.transaction(PAGES);
    transaction.onabort = () => reject(transaction.error);
    const store = transaction.objectStore(PAGES);
    const requests = keys.map((key) => store.get(key));
    requests[requests.length - 1].onsuccess = () => resolve(requests.map(({ result }) => result ?? null));
  });
}

/** @param {Array<Uint8Array | null>} pages @returns {{ bytes: Uint8Array, lengths: Int32Array }} */
function joined(pages) {
  const lengths = Int32Array.from(pages, (page) => page?.length ?? -1);
  const bytes = new Uint8Array(pages.reduce((sum, page) => sum + (page?.length ?? 0), 0));
  let at = 0;
  for (const page of pages) {
    if (!page) continue;
    bytes.set(page, at);
    at += page.length;
  }
  return { bytes, lengths };
}

/** @param {Uint8Array | null | undefined} page @param {Uint8Array | null | undefined} other */
function same(page, other) {
  if (!page || !other) return !page && !other;
  return page.length === other.length && page.every((byte, i) => byte === other[i]);
}

/** @param {string} name */
function conflict(name) {
  return new NookError('conflict', `${name} was changed by another tab meanwhile.`, 'Read it again and repeat it.');
}

/** @param {any} error @param {string} name */
function explained(error, name) {
  if (error instanceof NookError) return error;
  if (error?.name === 'QuotaExceededError') {
    const hint = 'Remove documents, or free disk space, and try again; what was stored is unharmed.';
    return new NookError('quota', 'The browser gives this site no more storage.', hint);
  }
  const message = `The browser could not store a change of ${name}: ${error?.message ?? 'the transaction was aborted'}.`;
  return new NookError('storage', message, 'Try again; what was stored before is unharmed.');
}

/** @param {string} name */
function lost(name) {
  const hint = 'Import a copy that was exported, or add the files again.';
  return new NookError('storage-lost', `The browser has deleted what the nook “${name}” had stored.`, hint);
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
