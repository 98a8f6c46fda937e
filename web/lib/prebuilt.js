// A nook that mirrors a .nook file of the site: fetched on first use, and again only when it changed.

import { NookError } from './errors.js';

/** @typedef {import('../inglenook.js').Nook} Nook */

/**
 * Bring `nook` to what lies at `url`. The server's ETag (or date) of what was imported last is remembered, so an
 * unchanged file costs one conditional request. Without a connection, what was imported before serves.
 *
 * @param {Nook} nook @param {URL} url @param {import('../inglenook.js').Call} call
 */
export async function sync(nook, url, { onProgress, signal } = {}) {
  const key = `inglenook:src:${nook.name}:${url.href}`;
  const { documents } = await nook.status();
  const response = await fetch(url, { cache: 'no-cache', signal }).catch(() => undefined);
  signal?.throwIfAborted();
  if (!response?.ok) {
    if (documents) return;
    const why = response ? `answered HTTP ${response.status}` : 'could not be reached';
    throw new NookError('src', `The library at ${url.href} ${why}.`, 'Check the src attribute and the connection.');
  }
  const mark = response.headers.get('etag') ?? response.headers.get('last-modified') ?? '';
  if (documents && mark && recall(key) === mark) {
    await response.body?.cancel();
    return;
  }
  const data = await download(response, (done, total) => onProgress?.(fetching(done, total)));
  const added = await nook.import(data, { onProgress, signal });
  const keep = new Set(added.map((event) => event.card.document));
  const gone = (await nook.documents()).filter((card) => !keep.has(card.document)).map((card) => card.document);
  if (keep.size && gone.length) await nook.remove(gone);
  if (mark) remember(key, mark);
}

/** How far a download is, as an event. @param {number} done @param {number} total @returns {import('../inglenook.js').Event} */
export const fetching = (done, total) => ({
  type: 'Progress',
  id: '',
  stage: 'download',
  done,
  total,
  unit: 'bytes',
  note: '',
});

/** The body, as it comes. @param {Response} response @param {(done: number, total: number) => void} progress */
export async function download(response, progress) {
  const total = Number(response.headers.get('content-length') ?? 0);
  const parts = [];
  let done = 0;
  const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body).getReader();
  for (;;) {
    const step = await reader.read();
    if (step.done) break;
    parts.push(step.value);
    done += step.value.length;
    progress(done, Math.max(total, done));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** @param {string} key */
function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // storage is refused: import each time
  }
}

/** @param {string} key @param {string} mark */
function remember(key, mark) {
  try {
    localStorage.setItem(key, mark);
  } catch {
    // storage is refused: nothing to remember with
  }
}
