// Big files of this release: fetched in parts, each part checked against assets.json, kept in Cache Storage.
//
// A download that is cut goes on where it stopped, because every whole part is kept. What is in the cache was checked
// when it was stored. Works in pages and workers; needs no service worker.

import { BASE } from '../base.js';
import { NookError } from './errors.js';

const CACHE = 'inglenook-assets';

/** All that is kept of a release but its pages and modules, here and by sw.js. */
const CACHES = [CACHE, 'inglenook-loose'];

/**
 * @typedef {object} Asset
 * @property {string} path relative to the folder of inglenook.js
 * @property {number} size bytes
 * @property {string} sha256 of the whole file
 * @property {string} group
 * @property {number} [inflated] bytes of what is inside, of a gzip file
 * @property {number} [part] bytes of each part (all but the last)
 * @property {string[]} [parts] sha256 of each part
 */

/** @type {Promise<Map<string, Asset>> | undefined} */
let list;

/** The assets of this release by path. @returns {Promise<Map<string, Asset>>} */
export function assets() {
  list ??= load().catch((error) => {
    list = undefined;
    throw error;
  });
  return list;
}

async function load() {
  const cache = await open();
  const url = new URL('static/assets.json', BASE);
  let response = await fetch(url).catch(() => undefined);
  if (response?.ok) await cache?.put(url, response.clone());
  else response = await cache?.match(url);
  if (!response) throw new NookError('offline', 'The list of files could not be loaded.', 'Check the connection.');
  const { files } = /** @type {{ files: Asset[] }} */ (await response.json());
  return new Map(files.map((file) => [file.path, file]));
}

/** @returns {Promise<Cache | undefined>} none where storage is refused */
async function open() {
  try {
    return await caches.open(CACHE);
  } catch {
    return undefined;
  }
}

/**
 * The bytes of an asset, from the cache or the network.
 *
 * @param {string} path
 * @param {object} [options]
 * @param {(done: number, total: number) => void} [options.onProgress] bytes
 * @param {AbortSignal} [options.signal]
 * @param {(total: number) => { write(chunk: Uint8Array, offset: number): void }} [options.into] where the bytes go;
 *   without it they are returned
 * @returns {Promise<Uint8Array<ArrayBuffer>>} empty with `into`
 */
export async function fetchAsset(path, { onProgress, signal, into } = {}) {
  const asset = (await assets()).get(path);
  if (!asset) throw new NookError('missing', `${path} is not part of this release.`, 'Run the build again.');
  const whole = into ? new Uint8Array(0) : new Uint8Array(asset.size);
  const sink = into
    ? into(asset.size)
    : { write: (/** @type {Uint8Array} */ c, /** @type {number} */ o) => whole.set(c, o) };
  const part = asset.part ?? asset.size;
  const hashes = asset.parts ?? [asset.sha256];
  const cache = await open();
  onProgress?.(0, asset.size);
  const coming = new Download(path, asset.size, signal);
  try {
    for (const [i, hash] of hashes.entries()) {
      signal?.throwIfAborted();
      const start = i * part;
      const end = Math.min(start + part, asset.size);
      const key = new URL(`${path}?sha256=${hash}`, BASE);
      const kept = await cache?.match(key);
      let bytes = kept && new Uint8Array(await kept.arrayBuffer());
      if (bytes?.length !== end - start) {
        bytes = await coming.part(start, end, (n) => onProgress?.(start + n, asset.size));
        await check(path, bytes, hash);
        await keep(cache, key, bytes);
      }
      sink.write(bytes, start);
      onProgress?.(end, asset.size);
    }
  } finally {
    await coming.end();
  }
  return whole;
}

/** Throw away what is kept of an asset: it turned out to be damaged. @param {string} path */
export async function forgetAsset(path) {
  const asset = (await assets()).get(path);
  const cache = await open();
  for (const hash of asset?.parts ?? (asset ? [asset.sha256] : [])) {
    await cache?.delete(new URL(`${path}?sha256=${hash}`, BASE));
  }
}

/**
 * Let go of the files that are kept of this release, if they can be fetched again now: what people gave us cannot, and
 * has the first right to the room that there is.
 * @returns {Promise<boolean>} whether there is more room than before
 */
export async function giveRoom() {
  try {
    const again = await fetch(new URL('static/assets.json', BASE), { method: 'HEAD', cache: 'no-store' });
    if (!again.ok) return false;
    // file by file: what a deleted cache takes is not free before everybody who has it open has let go of it
    const gone = CACHES.map(async (name) => {
      const cache = await caches.open(name);
      return Promise.all((await cache.keys()).map((request) => cache.delete(request)));
    });
    return (await Promise.all(gone)).flat().includes(true);
  } catch {
    return false;
  }
}

/** A file that comes part by part: from a server without ranges, which sends all of it, in one answer. */
class Download {
  /** @type {ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined} */
  #reader;
  /** Where in the file the next byte is that has not been taken. */
  #at = 0;
  /** What has come and has not been taken. */
  #rest = new Uint8Array(0);
  /** Whether the answer ends with the part that was asked for. */
  #ranged = false;

  /** @param {string} path @param {number} size bytes @param {AbortSignal | undefined} signal */
  constructor(path, size, signal) {
    this.path = path;
    this.size = size;
    this.signal = signal;
  }

  /**
   * The bytes from `start` to before `end`, which lie behind all that were asked for before.
   * @param {number} start @param {number} end @param {(n: number) => void} progress
   */
  async part(start, end, progress) {
    const bytes = new Uint8Array(end - start);
    let filled = 0;
    try {
      this.#reader ??= await this.#open(start, end);
      const reader = this.#reader;
      while (filled < bytes.length) {
        if (!this.#rest.length) {
          const { done, value } = await reader.read();
          if (done) break;
          this.#rest = value;
        }
        const skipped = Math.min(this.#rest.length, Math.max(0, start - this.#at));
        const taken = this.#rest.subarray(skipped, skipped + bytes.length - filled);
        bytes.set(taken, filled);
        filled += taken.length;
        this.#at += skipped + taken.length;
        this.#rest = this.#rest.subarray(skipped + taken.length);
        if (taken.length) progress(filled);
      }
      if (this.#ranged) await this.end();
    } catch (error) {
      if (this.signal?.aborted || error instanceof NookError) throw error;
      throw this.#broken();
    }
    if (filled < bytes.length) throw this.#broken();
    return bytes;
  }

  /** Nothing more is wanted. */
  async end() {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#rest = new Uint8Array(0);
    await reader?.cancel().catch(() => {});
  }

  /** Ask for a part. @param {number} start @param {number} end */
  async #open(start, end) {
    const headers = end - start < this.size ? { Range: `bytes=${start}-${end - 1}` } : undefined;
    const response = await fetch(new URL(this.path, BASE), { headers, signal: this.signal });
    if (!response.ok || !response.body) {
      const told = `${this.path} could not be loaded (HTTP ${response.status}).`;
      throw new NookError('missing', told, 'Run the build again.');
    }
    this.#ranged = response.status === 206;
    this.#at = this.#ranged ? start : 0;
    return response.body.getReader();
  }

  #broken() {
    const hint = 'Check the connection and try again: what has arrived is kept.';
    return new NookError('network', `The download of ${this.path} broke off.`, hint);
  }
}

/** @param {string} path @param {Uint8Array<ArrayBuffer>} bytes @param {string} expected */
async function check(path, bytes, expected) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (hex !== expected) {
    const hint = 'Something on the way changed it. Reload the page; if it stays, the server has a damaged file.';
    throw new NookError('corrupt', `${path} is not the file this release was built with.`, hint);
  }
}

/** @param {Cache | undefined} cache @param {URL} key @param {Uint8Array<ArrayBuffer>} bytes */
async function keep(cache, key, bytes) {
  try {
    await cache?.put(key, new Response(bytes));
  } catch {
    // Storage is full or refused: the bytes are used all the same and fetched again next time.
  }
}
