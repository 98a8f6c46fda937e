// Requests out, events in: matches the two by stream id over any link (a worker, a WebSocket).

import { abortError, NookError } from './errors.js';
import { Stream } from './stream.js';

/** @typedef {import('../wire.gen.js').Event} Event */

/**
 * One connection to an engine.
 * @typedef {object} Link
 * @property {(message: object, transfer: Transferable[]) => void} post
 * @property {() => void} close
 * @property {(message: any) => void} onmessage set by the client
 * @property {() => void} [onchange] set by the client; called when what another tab stored can be asked for
 * @property {(error: NookError) => void} onclose set by the client; called once, when the other side is gone
 */

/** Keeps the open streams of one engine; starts the engine again when it is needed after it died. */
export class Client {
  /** @type {Link | undefined} */ #link;
  /** @type {Map<string, { stream: Stream<Event>, release: () => void }>} */ #open = new Map();
  #ids = 0;
  #closed = false;
  /** Another tab changed the nook, and the engine has read it. */
  onchange = () => {};
  #connect;
  #opening;

  /** @param {() => Link} connect @param {() => object} opening the Open request a new connection starts with */
  constructor(connect, opening) {
    this.#connect = connect;
    this.#opening = opening;
  }

  /**
   * Connect and open the nook. The stream ends when the nook is open.
   * @param {{ signal?: AbortSignal }} [options] @returns {Stream<Event>}
   */
  open(options) {
    this.#start();
    return this.#send(this.#opening(), options);
  }

  /**
   * @param {object} message @param {{ signal?: AbortSignal, transfer?: Transferable[] }} [options]
   * @returns {Stream<Event>}
   */
  request(message, options) {
    if (this.#closed) {
      throw new NookError('closed', 'This nook has been closed.', 'Open it again before using it.');
    }
    if (!this.#link) {
      this.open()
        .next()
        .catch(() => {}); // what goes wrong here, the request itself will hear too
    }
    return this.#send(message, options);
  }

  close() {
    this.#closed = true;
    this.#link?.close();
    this.#lose(new NookError('closed', 'The nook was closed while this was under way.', 'Open it again and repeat.'));
  }

  #start() {
    const link = this.#connect();
    this.#link = link;
    link.onmessage = (message) => this.#deliver(message);
    link.onchange = () => this.onchange();
    link.onclose = (error) => {
      if (this.#link === link) this.#lose(error);
    };
  }

  /** @param {object} message @param {{ signal?: AbortSignal, transfer?: Transferable[] }} [options] */
  #send(message, { signal, transfer = [] } = {}) {
    const id = String(++this.#ids);
    const link = /** @type {Link} */ (this.#link);
    const stop = () => {
      this.#settle(id);
      if (this.#link === link) link.post({ type: 'Cancel', id: String(++this.#ids), stream: id }, []);
    };
    /** @type {Stream<Event>} */
    const stream = new Stream(stop);
    const abort = () => {
      stream.end(abortError(signal));
      stop();
    };
    if (signal?.aborted) {
      stream.end(abortError(signal));
      return stream;
    }
    signal?.addEventListener('abort', abort, { once: true });
    this.#open.set(id, { stream, release: () => signal?.removeEventListener('abort', abort) });
    link.post({ ...message, id }, transfer);
    return stream;
  }

  /** @param {any} message */
  #deliver(message) {
    const stream = this.#open.get(message.id)?.stream;
    if (!stream) return; // of a stream that was stopped
    if (message.type === 'Done') stream.end();
    else if (message.type === 'Failed') stream.end(new NookError(message.code, message.message, message.hint));
    else if (message.type === 'Cancelled') stream.end(abortError());
    else stream.push(message);
    if (stream.ended) this.#settle(message.id);
  }

  /** @param {string} id */
  #settle(id) {
    this.#open.get(id)?.release();
    this.#open.delete(id);
  }

  /** @param {NookError} error */
  #lose(error) {
    this.#link = undefined;
    for (const [id, { stream }] of [...this.#open]) {
      this.#settle(id);
      stream.end(error);
    }
  }
}
