// What a client and its server keep count of, so that a connection may be lost without losing anything: which requests
// are open, and how many events of each have come. No I/O: messages in, messages out. The other side is wire/session.py.

/** Events of a stream that come before they are acknowledged, as a part of the server's window. */
const PART = 4;
/** What ends a stream. */
const ENDS = ['Done', 'Failed', 'Cancelled'];
/** The streams of messages that have none. */
const ATTACH = 'attach';
const ACK = 'ack';

/** @typedef {{ type: string, id: string, [field: string]: any }} Message */

export class Tally {
  /** @type {Map<string, { message: Message, seen: number, told: number, stop?: Message }>} */ #open = new Map();
  /** @type {Message[]} */ #out = [];
  /** @type {Record<string, number>} */ #due = {};
  #token = '';
  #window = Number.POSITIVE_INFINITY;
  /** Whether messages may go out: not before the server has said what it knows. */
  #live = false;
  #sent = false;

  /** Whether nothing is lost with the connection: the session outlives it, or nothing has gone over it yet. */
  get kept() {
    return this.#token !== '' || !this.#sent;
  }

  /** Whether anything is under way. */
  get busy() {
    return [...this.#open.values()].some(({ stop }) => !stop);
  }

  /** Whether something that has come was not acknowledged yet. */
  get owes() {
    return Object.keys(this.#due).length > 0;
  }

  /** There is a new connection: what goes over it first is in `take`. */
  begin() {
    for (const [id, { stop }] of this.#open) if (stop) this.#open.delete(id);
    const seen = Object.fromEntries([...this.#open].map(([id, entry]) => [id, entry.seen]));
    this.#due = {};
    this.#out = [{ type: 'Attach', id: ATTACH, token: this.#token, seen: this.#token ? seen : {} }];
  }

  /** The connection is gone. */
  lose() {
    this.#live = false;
    this.#out = [];
  }

  /** What is to be sent. @returns {Message[]} */
  take() {
    return this.#out.splice(0);
  }

  /** A message of this client's. @param {Message} message */
  post(message) {
    if (message.type === 'Cancel') {
      const entry = this.#open.get(message.stream);
      if (entry) entry.stop = message; // its end is still to come, and to be acknowledged
    } else this.#open.set(message.id, { message, seen: 0, told: 0 });
    if (this.#live) this.#out.push(message);
  }

  /**
   * A message of the server's. @param {Message} message
   * @returns {{ message?: Message, gone?: Message }} what is for the client; or why the session is over
   */
  hear(message) {
    if (message.id === ATTACH) return this.#attached(message);
    const entry = this.#open.get(message.id);
    if (!entry) return {};
    entry.seen++;
    const ended = ENDS.includes(message.type);
    if (ended) this.#open.delete(message.id);
    if (this.#token) {
      this.#due[message.id] = entry.seen;
      if (ended || entry.seen - entry.told >= this.#window / PART) {
        entry.told = entry.seen;
        this.acknowledge();
      }
    }
    return { message };
  }

  /** Tell the server what has come. */
  acknowledge() {
    if (this.owes && this.#live) this.#out.push({ type: 'Ack', id: ACK, seen: this.#due });
    this.#due = {};
  }

  /** The first answer decides; one that is not Attached comes from a server without sessions. @param {Message} message */
  #attached(message) {
    if (this.#live) return {};
    if (message.type === 'Failed' && this.#token) return { gone: message };
    if (message.type === 'Attached') {
      this.#token = message.token;
      this.#window = message.window;
    }
    const known = new Set(message.streams);
    for (const [id, { message: request, stop }] of this.#open) {
      if (known.has(id)) {
        if (stop) this.#out.push(stop);
      } else if (stop) this.#open.delete(id);
      else this.#out.push(request);
    }
    this.#live = true;
    this.#sent = true;
    return {};
  }
}
