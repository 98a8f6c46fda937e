// Files in the browser's own file system, read and written in place: what a store of pages in one file needs of
// JavaScript. Only workers get such handles. The format and the decisions are Python's
// (pysrc/inglenook/index/log.py, pysrc/inglenook/platform/browser/opfs.py).

import { NookError } from './errors.js';
import { lock } from './lock.js';
import { databaseName } from './store.js';

/** @typedef {(data: Uint8Array, options: { at: number }) => number} Transfer returns how many bytes it took */
/**
 * @typedef {{ read: Transfer, write: Transfer, flush(): void, truncate(size: number): void, getSize(): number,
 *   close(): void }} Access
 * a FileSystemSyncAccessHandle
 */
/** @typedef {{ keys: string[], moved: boolean }} Change another tab's commit, or its move to a new file */

const SUFFIX = '.nook';

/**
 * Where the nook `name` belongs: where it is; a new one in files, which are read ten times as fast as a database, where
 * the browser lets several tabs have a file open.
 * @param {string} name @returns {Promise<'opfs' | 'indexeddb'>}
 */
export async function preferred(name) {
  try {
    const folder = await nooks();
    for await (const other of /** @type {any} */ (folder).keys()) {
      if (other === encodeURIComponent(name)) return 'opfs';
    }
    const databases = await indexedDB.databases();
    if (databases.some((other) => other.name === databaseName(name))) return 'indexeddb';
    return (await shared(folder)) ? 'opfs' : 'indexeddb';
  } catch {
    return 'indexeddb';
  }
}

/** The folder of the nook `name`, made if it is not there. @param {string} name @returns {Promise<Folder>} */
export async function openFolder(name) {
  try {
    return new Folder(name, await (await nooks()).getDirectoryHandle(encodeURIComponent(name), { create: true }));
  } catch (error) {
    const message = `This browser gives no file system here: ${error instanceof Error ? error.message : error}.`;
    throw new NookError('no-opfs', message, 'Keep the index in IndexedDB.');
  }
}

/** Forget the nook `name`; false where another tab has it open. @param {string} name */
export async function deleteFolder(name) {
  return gone((await nooks()).removeEntry(encodeURIComponent(name), { recursive: true }));
}

/** The folder of all nooks. */
async function nooks() {
  if (typeof (/** @type {any} */ (globalThis).FileSystemSyncAccessHandle) !== 'function') throw new Error('no handles');
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle('inglenook', { create: true });
}

/** Whether one file can be open twice. @param {FileSystemDirectoryHandle} folder */
async function shared(folder) {
  const file = await folder.getFileHandle('.shared', { create: true });
  /** @type {Access[]} */
  const handles = [];
  try {
    for (let i = 0; i < 2; i++) handles.push(await access(file));
    return true;
  } catch {
    return false;
  } finally {
    for (const handle of handles) handle.close();
  }
}

/** @param {FileSystemFileHandle} file @returns {Promise<Access>} */
const access = (file) => /** @type {any} */ (file).createSyncAccessHandle({ mode: 'readwrite-unsafe' });

/** The files of a nook, numbered: the one in use is the last that is whole. */
export class Folder {
  #folder;
  #channel;
  /** @type {Set<(change: Change) => void>} */
  #listeners = new Set();

  /** @param {string} name @param {FileSystemDirectoryHandle} folder */
  constructor(name, folder) {
    this.name = name;
    this.#folder = folder;
    this.#channel = new BroadcastChannel(`inglenook:file:${name}`);
    this.#channel.onmessage = ({ data }) => {
      for (const listener of this.#listeners) listener(data);
    };
  }

  /** Numbers of the files there are, ascending. */
  async list() {
    const numbers = [];
    for await (const name of /** @type {any} */ (this.#folder).keys()) {
      if (name.endsWith(SUFFIX)) numbers.push(Number.parseInt(name, 10));
    }
    return numbers.sort((a, b) => a - b);
  }

  /**
   * A file, made if it is not there. Other tabs may have it open as well where the browser allows it.
   * @param {number} number @returns {Promise<Handle>} Throws NookError 'locked'.
   */
  async open(number) {
    const file = await this.#folder.getFileHandle(`${number}${SUFFIX}`, { create: true });
    try {
      return new Handle(await access(file));
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== 'NoModificationAllowedError') throw error;
      const hint = 'Close the other tab, or use a browser that lets two tabs write to one file.';
      throw new NookError('locked', `Another tab has the nook “${this.name}” open.`, hint);
    }
  }

  /** Delete a file; false where a tab still has it open. @param {number} number */
  remove(number) {
    return gone(this.#folder.removeEntry(`${number}${SUFFIX}`));
  }

  /** Ask for a lock that all tabs share. @param {string} what @param {boolean} shared @param {boolean} wait */
  lock(what, shared, wait) {
    return lock(`inglenook:file:${this.name}:${what}`, { shared, wait });
  }

  /** Tell the other tabs. @param {string[]} keys @param {boolean} moved */
  tell(keys, moved) {
    this.#channel.postMessage({ keys, moved });
  }

  /** @param {(change: Change) => void} listener */
  changes(listener) {
    this.#listeners.add(listener);
  }

  close() {
    this.#listeners.clear();
    this.#channel.close();
  }
}

/** A file, by positions. */
export class Handle {
  #access;

  /** @param {Access} access */
  constructor(access) {
    this.#access = access;
  }

  /** Bytes from `offset`, fewer where the file ends. @param {number} offset @param {number} length */
  read(offset, length) {
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, this.#fill(bytes, offset));
  }

  /**
   * Many reads as one run of bytes, shorter than asked for where the file ends.
   * @param {Float64Array} spans offset and length of each
   */
  gather(spans) {
    let size = 0;
    for (let i = 1; i < spans.length; i += 2) size += spans[i];
    const bytes = new Uint8Array(size);
    let at = 0;
    for (let i = 0; i < spans.length; ) {
      const offset = spans[i];
      let length = 0; // neighbours are read together
      for (; i < spans.length && spans[i] === offset + length; i += 2) length += spans[i + 1];
      const got = length && this.#fill(bytes.subarray(at, at + length), offset);
      if (got < length) return bytes.subarray(0, at + got);
      at += length;
    }
    return bytes;
  }

  /** @param {number} offset @param {Uint8Array} data Throws where not all of it fits. */
  write(offset, data) {
    if (this.#access.write(data, { at: offset }) < data.length) {
      throw new DOMException('The browser gives this site no more storage', 'QuotaExceededError');
    }
  }

  flush() {
    this.#access.flush();
  }

  /** @param {number} size */
  truncate(size) {
    this.#access.truncate(size);
  }

  size() {
    const size = this.#access.getSize();
    if (!Number.isSafeInteger(size)) throw taken();
    return size;
  }

  /** @param {Uint8Array} bytes @param {number} at */
  #fill(bytes, at) {
    const got = this.#access.read(bytes, { at });
    if (got > bytes.length) throw taken();
    return got;
  }

  close() {
    this.#access.close();
  }
}

/** A file that was cleared away while it was open: Chromium then gives sizes beyond all bounds, not an error. */
const taken = () => new DOMException('It was cleared away', 'NotFoundError');

/** @param {Promise<void>} removal */
async function gone(removal) {
  try {
    await removal;
    return true;
  } catch (error) {
    if (error instanceof DOMException && ['NoModificationAllowedError', 'NotFoundError'].includes(error.name)) {
      return error.name === 'NotFoundError';
    }
    throw error;
  }
}
