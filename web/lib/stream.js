// The events of one request, as an async iterable that one reader takes at its own pace.

/**
 * Events wait in a queue until they are read. Only Progress can come faster than a reader wants it, so an unread
 * Progress gives way to the next one of its stage; everything else is kept. Leaving the loop early stops the work.
 *
 * @template T
 * @implements {AsyncIterableIterator<T>}
 */
export class Stream {
  /** @type {T[]} */ #queue = [];
  /** @type {Array<{ resolve: (step: IteratorResult<T>) => void, reject: (error: unknown) => void }>} */ #readers = [];
  /** @type {unknown} */ #error = undefined;
  #ended = false;
  #cancel;

  /** @param {() => void} cancel called at most once, when the reader leaves before the end */
  constructor(cancel) {
    this.#cancel = cancel;
  }

  get ended() {
    return this.#ended;
  }

  /** @param {T} event */
  push(event) {
    if (this.#ended) return;
    const reader = this.#readers.shift();
    if (reader) reader.resolve({ value: event, done: false });
    else if (!this.#merge(/** @type {any} */ (event))) this.#queue.push(event);
  }

  /** @param {any} event */
  #merge(event) {
    const last = /** @type {any} */ (this.#queue.at(-1));
    if (event.type !== 'Progress' || last?.type !== 'Progress' || last.stage !== event.stage) return false;
    this.#queue[this.#queue.length - 1] = event;
    return true;
  }

  /** No more events; with an error, the reader gets it after the events that came before. @param {unknown} [error] */
  end(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    for (const reader of this.#readers.splice(0)) {
      if (error !== undefined) reader.reject(this.#take());
      else reader.resolve({ value: undefined, done: true });
    }
  }

  #take() {
    const error = this.#error;
    this.#error = undefined;
    return error;
  }

  /** @returns {Promise<IteratorResult<T>>} */
  next() {
    if (this.#queue.length) return Promise.resolve({ value: /** @type {T} */ (this.#queue.shift()), done: false });
    if (this.#error !== undefined) return Promise.reject(this.#take());
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  /** Stop: what `break` calls. @returns {Promise<IteratorResult<T>>} */
  return() {
    this.#queue.length = 0;
    this.#error = undefined;
    if (!this.#ended) {
      this.end();
      this.#cancel();
    }
    return Promise.resolve({ value: undefined, done: true });
  }

  /** @param {unknown} [error] @returns {Promise<IteratorResult<T>>} */
  async throw(error) {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    await this.return();
  }
}
