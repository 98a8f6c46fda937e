// Files and folders from wherever they come (picker, drop, paste, a program), as one list of paths with lazy bytes.

import { NookError } from './errors.js';

/**
 * @typedef {object} Source
 * @property {string} path with the folders it lay in
 * @property {number} size bytes
 * @property {number} modified seconds since 1970
 * @property {Blob} blob
 * @property {() => Promise<Uint8Array<ArrayBuffer>>} read
 */

/** @typedef {{ path: string, data: Uint8Array | ArrayBuffer | Blob | string, modified?: number }} Given */
/** @typedef {Iterable<File | Given> | FileList | DataTransfer | File | Given} Files */

/** Files that systems leave in folders and nobody means to add. */
const NOISE = /(^|\/)(\.[^/]*|Thumbs\.db|desktop\.ini|__MACOSX\/.*)$/i;

/**
 * Everything that was handed in. A DataTransfer must be read before the event handler returns, so entries are taken
 * synchronously and folders walked afterwards.
 *
 * @param {Files} files @returns {Promise<Source[]>}
 */
export async function gather(files) {
  if (typeof DataTransfer !== 'undefined' && files instanceof DataTransfer) return fromTransfer(files);
  const list = Symbol.iterator in Object(files) && typeof files !== 'string' ? files : [files];
  return [.../** @type {Iterable<File | Given>} */ (list)].map(fromOne);
}

/** @param {File | Given} item @returns {Source} */
function fromOne(item) {
  if (item instanceof File) return fromBlob(item, item.webkitRelativePath || item.name, item.lastModified / 1000);
  if (!item?.path || item.data === undefined) {
    const hint = 'Give File objects, a FileList, a DataTransfer, or {path, data}.';
    throw new NookError('not-a-file', 'This is not something that can be added.', hint);
  }
  const { path, data, modified = Date.now() / 1000 } = item;
  const blob = data instanceof Blob ? data : new Blob([/** @type {BlobPart} */ (data)]);
  return fromBlob(blob, path, modified);
}

/** @param {Blob} blob @param {string} path @param {number} modified @returns {Source} */
function fromBlob(blob, path, modified) {
  const read = async () => {
    try {
      return new Uint8Array(await blob.arrayBuffer());
    } catch {
      throw new NookError('unreadable', `${path} could not be read.`, 'It may have moved or changed: choose it again.');
    }
  };
  return { path, size: blob.size, modified, blob, read };
}

/** @param {DataTransfer} transfer */
async function fromTransfer(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === 'file').map((item) => item.webkitGetAsEntry?.());
  const plain = [...transfer.files];
  if (entries.some((entry) => !entry)) return plain.map(fromOne);
  /** @type {Source[]} */
  const found = [];
  for (const entry of entries) await walk(/** @type {FileSystemEntry} */ (entry), found);
  return found;
}

/** @param {FileSystemEntry} entry @param {Source[]} found */
async function walk(entry, found) {
  const path = entry.fullPath.replace(/^\//, '');
  if (NOISE.test(path)) return;
  if (entry.isFile) {
    const get = /** @type {FileSystemFileEntry} */ (entry);
    const file = await new Promise((resolve, reject) => get.file(resolve, reject)).catch(() => undefined);
    if (file) found.push(fromBlob(file, path, file.lastModified / 1000));
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => []);
    if (!some.length) return;
    for (const child of some) await walk(child, found);
  }
}

/** Leave out what nobody means to add from a folder. @param {Source[]} sources */
export const withoutNoise = (sources) => sources.filter((source) => !NOISE.test(source.path));

/**
 * Cut a list into batches that fit in memory together. @param {Source[]} sources
 * @param {{ files?: number, bytes?: number }} [limit] @returns {Generator<Source[]>}
 */
export function* batches(sources, { files = 24, bytes = 16e6 } = {}) {
  /** @type {Source[]} */
  let batch = [];
  let size = 0;
  for (const source of sources) {
    if (batch.length && (batch.length === files || size + source.size > bytes)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(source);
    size += source.size;
  }
  if (batch.length) yield batch;
}
