// The public API: a private library of documents in this tab.
//
//   import { open } from './inglenook.js';
//   await using nook = await open('notes');
//   await nook.add(files);
//   for await (const event of nook.ask('What did we decide on pricing?')) render(event);

import { Completions } from './lib/chat.js';
import { Client } from './lib/client.js';
import { NookError } from './lib/errors.js';
import { batches, gather } from './lib/files.js';
import { download, fetching, sync } from './lib/prebuilt.js';
import { serverLink } from './lib/remote.js';
import { tabLink } from './lib/tab.js';
import { Writer } from './lib/writer.js';

export { NookError };

/** @typedef {import('./wire.gen.js').Event} Event */
/** @typedef {import('./wire.gen.js').Filter} Filter */
/** @typedef {import('./wire.gen.js').Slo} Slo */
/** @typedef {import('./wire.gen.js').Card} Card */
/** @typedef {import('./wire.gen.js').HitsMessage} Hits */
/** @typedef {import('./wire.gen.js').StatusMessage} Status */
/** @typedef {import('./wire.gen.js').SourceMessage} Source */
/** @typedef {import('./wire.gen.js').Document} Document */
/** @typedef {import('./wire.gen.js').LadderMessage} Ladder */
/** @typedef {import('./wire.gen.js').PlannedMessage} Planned */
/** @typedef {import('./wire.gen.js').SkippedMessage} Skipped */
/** @typedef {import('./wire.gen.js').AddedMessage} Added */
/** @typedef {(event: Event) => void} OnProgress */
/** @typedef {{ onProgress?: OnProgress, signal?: AbortSignal }} Call */

/** The most bytes of one file that fit into the engine's memory. */
export const MAX_FILE = 200e6;

/**
 * Open a nook, made if it is not there. The engine is a worker; all nooks of a page and of the frames of its origin in it
 * share one, and its models.
 *
 * @param {string} [name] letters, digits and what you like; each name is a library of its own
 * @param {object} [options]
 * @param {OnProgress} [options.onProgress] hears how the start goes
 * @param {AbortSignal} [options.signal]
 * @param {string | URL} [options.base] the folder of inglenook.js, if it was bundled or moved
 * @param {string | URL} [options.src] a prebuilt .nook file; fetched when it is new or changed
 * @param {'on' | 'off'} [options.network] "off": nothing but this release's own files and `src` is fetched
 * @param {string | URL} [options.model] an ONNX decoder of this site to write with in place of the release's model, as
 *   Hugging Face lays it out: tokenizer.json and config.json beside it or above its folder `onnx/`
 * @param {string} [options.app] who asks, where several share a model: they take turns by app
 * @param {string | URL} [options.server] a WebSocket of `inglenook serve`; questions and files go there
 * @param {string | URL} [options.writer] such a WebSocket that may write what this tab would be too slow for: see
 *   `Nook.writeWith`
 * @param {string} [options.key] what the server or the writer asks for, if it does
 * @returns {Promise<Nook>}
 */
export async function open(
  name = 'notes',
  { onProgress, signal, base, src, network = 'on', app = '', server, writer, key, model } = {},
) {
  if ((server || writer) && network === 'off') {
    throw new NookError(
      'network-off',
      'A server needs the network, which is off.',
      'Allow the network or leave it out.',
    );
  }
  const root = new URL(base ?? '.', base ? document.baseURI : import.meta.url);
  const connect = server ? () => serverLink(new URL(server, location.href), key) : () => tabLink(root);
  const opening = { type: 'Open', name, model: model ? new URL(model, document.baseURI).href : '' };
  const nook = new Nook(name, new Client(connect, () => opening), app);
  try {
    await nook.start({ onProgress, signal });
    if (writer) await nook.writeWith(writer, { key, signal });
    if (src) await sync(nook, new URL(src, document.baseURI), { onProgress, signal });
  } catch (error) {
    nook.dispose();
    throw error;
  }
  return nook;
}

/** A library of documents. Made by `open`. */
export class Nook {
  #client;
  /** @type {Writer | undefined} */ #writer;
  /** Set it to hear that another tab has changed this nook; what is asked from then on shows it. */
  onchange = () => {};

  /** @param {string} name @param {Client} client @param {string} [app] */
  constructor(name, client, app = '') {
    this.name = name;
    this.app = app;
    this.#client = client;
    client.onchange = () => this.onchange();
    this.chat = { completions: new Completions((message, signal) => client.request({ app, ...message }, { signal })) };
  }

  /** @param {Call} call @returns {Promise<void>} */
  async start({ onProgress, signal }) {
    for await (const event of this.#client.open({ signal })) onProgress?.(event);
  }

  /**
   * Add files. One that cannot be read is skipped and named in the answer; the rest goes on. What is stored stays
   * stored when the call is stopped.
   *
   * @param {import('./lib/files.js').Files} files
   * @param {Call & { collection?: string }} [options]
   * @returns {Promise<{ added: Added[], skipped: Skipped[] }>}
   */
  async add(files, { collection = 'notes', onProgress, signal } = {}) {
    const sources = await gather(files);
    /** @type {{ added: Added[], skipped: Skipped[] }} */
    const report = { added: [], skipped: [] };
    const hear = (/** @type {any} */ event) => {
      if (event.type === 'Added') report.added.push(event);
      if (event.type === 'Skipped') report.skipped.push(event);
      onProgress?.(event);
    };
    for (const batch of batches(sources)) {
      const uploads = [];
      for (const source of batch) {
        signal?.throwIfAborted();
        const upload = await read(source, collection).catch((error) => hear(skipped(source.path, error)));
        if (upload) uploads.push(upload);
      }
      const transfer = uploads.map((upload) => upload.data.buffer);
      if (uploads.length) await this.#all({ type: 'Add', files: uploads }, { signal, transfer }, hear);
    }
    return report;
  }

  /**
   * Find passages. @param {string} query
   * @param {{ k?: number, filter?: Filter, mode?: 'hybrid' | 'lexical' | 'vector', signal?: AbortSignal }} [options]
   * @returns {Promise<Hits>}
   */
  search(query, { k = 10, filter = {}, mode = 'hybrid', signal } = {}) {
    return this.#one('Hits', { type: 'Search', query, k, filter, mode }, signal);
  }

  /**
   * Answer a question: Hits, then Passage or NoSource, then Token and Citation while the model writes, then Timing. With
   * a server that may write, Placed tells where an answer is written, from its beginning. Leaving the loop stops the
   * work.
   *
   * @param {string} question
   * @param {{ k?: number, filter?: Filter, write?: boolean, max_tokens?: number, temperature?: number, seed?: number,
   *   slo?: Slo, app?: string, signal?: AbortSignal }} [options]
   * @returns {AsyncIterableIterator<Event>}
   */
  ask(question, { signal, ...options } = {}) {
    const here = (/** @type {object} */ message) => this.#client.request(message, { signal });
    const events = here({ type: 'Ask', question, app: this.app, ...options, ...this.#writer?.offer() });
    return this.#writer?.through(events, here, signal) ?? events;
  }

  /**
   * Let a server write answers for which this tab would be too slow, by what both are expected to take and the latency
   * that is asked for. It gets the question and the passages found for it then, and nothing before. When it is not
   * there, this tab writes.
   *
   * @param {string | URL} url a WebSocket of `inglenook serve`
   * @param {{ key?: string, signal?: AbortSignal }} [options] the key that the server asks for, if it does
   * @returns {Promise<{ first_ms: number, delay_ms: number } | undefined>} the time it takes to the first token after
   *   256, and the way there and back; undefined where it did not tell
   */
  async writeWith(url, { key, signal } = {}) {
    const writer = new Writer(new URL(url, location.href), key);
    try {
      await writer.visit(signal);
    } catch (error) {
      writer.close();
      throw error;
    }
    this.writeAlone();
    this.#writer = writer;
    return writer.told;
  }

  /** From now on this tab alone writes. */
  writeAlone() {
    this.#writer?.close();
    this.#writer = undefined;
  }

  /** All documents. @param {{ signal?: AbortSignal }} [options] @returns {Promise<Card[]>} */
  async documents({ signal } = {}) {
    return (await this.#one('Documents', { type: 'List' }, signal)).cards;
  }

  /** Forget documents. @param {string | string[]} documents ids @returns {Promise<string[]>} those that are gone */
  async remove(documents) {
    return (await this.#one('Removed', { type: 'Remove', documents: [documents].flat() })).documents;
  }

  /**
   * The source around a span, to read: text, or a drawn PDF page with the span's boxes.
   * @param {string} document id @param {{ start?: number, end?: number, width?: number, signal?: AbortSignal }} [at]
   * @returns {Promise<Source>}
   */
  show(document, { start = 0, end = start, width = 900, signal } = {}) {
    return this.#one('Source', { type: 'Show', document, start, end, width }, signal);
  }

  /** How a document was cut. @param {string} document id @returns {Promise<Document>} */
  async inspect(document) {
    return (await this.#one('Chunks', { type: 'Inspect', document })).document;
  }

  /** The whole nook as one .nook file. @param {Call} [options] @returns {Promise<File>} */
  async export({ onProgress, signal } = {}) {
    /** @type {File | undefined} */
    let file;
    await this.#all({ type: 'Export' }, { signal }, (event) => {
      if (event.type === 'Blob') file = new File([/** @type {BlobPart} */ (event.data)], event.name);
      else onProgress?.(event);
    });
    if (!file) throw nothing('Export');
    return file;
  }

  /**
   * Merge a .nook file into this nook. @param {Blob | Uint8Array | URL | string} from a file, its bytes or its address
   * @param {Call} [options] @returns {Promise<Added[]>}
   */
  async import(from, { onProgress, signal } = {}) {
    const data = await bytes(from, onProgress, signal);
    /** @type {Added[]} */
    const added = [];
    await this.#all({ type: 'Import', data }, { signal, transfer: [data.buffer] }, (event) => {
      if (event.type === 'Added') added.push(event);
      onProgress?.(event);
    });
    return added;
  }

  /** Make a model ready ahead of use. @param {'encoder' | 'lm'} model @param {Call} [options] */
  async prepare(model, { onProgress, signal } = {}) {
    await this.#all({ type: 'Prepare', model }, { signal }, (event) => onProgress?.(event));
  }

  /**
   * A map of the library: Topics by place at once, then, where there are vectors, Progress and Topics by meaning.
   * Leaving the loop stops the work. @param {{ signal?: AbortSignal }} [options] @returns {AsyncIterableIterator<Event>}
   */
  map({ signal } = {}) {
    return this.#client.request({ type: 'Map' }, { signal });
  }

  /**
   * The parts of the model that can answer, and how fast each is here; with `measure` that is measured anew.
   * @param {Call & { measure?: boolean }} [options] @returns {Promise<Ladder>}
   */
  levels({ measure = false, onProgress, signal } = {}) {
    return this.#one('Ladder', { type: 'Levels', measure }, signal, onProgress);
  }

  /**
   * How a prompt of so many tokens would be answered within a latency, and where. Fails with code "slo" if no part of the model is
   * fast enough; the hint says what could be kept.
   * @param {{ tokens?: number, fixed?: number, slo?: Slo, signal?: AbortSignal }} [wish] @returns {Promise<Planned>}
   */
  plan({ signal, ...wish } = {}) {
    return this.#one('Planned', { type: 'Plan', ...this.#writer?.offer(), ...wish }, signal);
  }

  /** What this nook holds and uses. @returns {Promise<Status>} */
  status() {
    return this.#one('Status', { type: 'Look' });
  }

  /** Leave the engine; with its last user it ends and gives back its memory. What is stored stays. */
  dispose() {
    this.writeAlone();
    this.#client.close();
  }

  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    this.dispose();
  }

  /**
   * @param {object} message @param {{ signal?: AbortSignal, transfer?: Transferable[] }} options
   * @param {(event: any) => void} hear
   */
  async #all(message, options, hear) {
    for await (const event of this.#client.request(message, options)) hear(event);
  }

  /**
   * The one event that answers; the end of its stream, which follows, is not waited for.
   * @param {string} type @param {object} message @param {AbortSignal} [signal] @param {OnProgress} [onProgress]
   * @returns {Promise<any>}
   */
  #one(type, message, signal, onProgress) {
    return new Promise((resolve, reject) => {
      const hear = (/** @type {any} */ event) => (event.type === type ? resolve(event) : onProgress?.(event));
      const ended = () => reject(nothing(/** @type {any} */ (message).type));
      this.#all(message, { signal }, hear).then(ended, reject);
    });
  }
}

/** @param {string} type */
const nothing = (type) =>
  new NookError('no-answer', `The engine ended ${type} without an answer.`, 'Page and engine differ: reload the page.');

/** @param {import('./lib/files.js').Source} source @param {string} collection */
async function read(source, collection) {
  if (source.size > MAX_FILE) {
    const size = `${Math.round(source.size / 1e6)} MB`;
    const hint = `Files of up to ${MAX_FILE / 1e6} MB fit into the tab's memory. Split it, or index it on a machine.`;
    throw new NookError('too-large', `${source.path} is too large (${size}).`, hint);
  }
  return { path: source.path, data: await source.read(), modified: source.modified, collection };
}

/** @param {string} path @param {any} error @returns {Skipped} */
function skipped(path, error) {
  const { code = 'unreadable', message = 'It could not be read.', hint = '' } = error;
  return { type: 'Skipped', id: '', path, code, message, hint };
}

/**
 * @param {Blob | Uint8Array | URL | string} from @param {OnProgress} [onProgress] @param {AbortSignal} [signal]
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function bytes(from, onProgress, signal) {
  if (from instanceof Uint8Array) return from.slice();
  if (from instanceof Blob) return new Uint8Array(await from.arrayBuffer());
  const response = await fetch(from, { signal }).catch((error) => {
    signal?.throwIfAborted();
    throw new NookError(
      'network',
      `${from} could not be fetched: ${error.message}.`,
      'Check the address and connection.',
    );
  });
  if (!response.ok) throw new NookError('missing', `${from} answered HTTP ${response.status}.`, 'Check the address.');
  return download(response, (done, total) => onProgress?.(fetching(done, total)));
}
