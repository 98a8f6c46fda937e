// One model in one WebAssembly instance: its memory, its weights, and what the C functions of wasm/ need to run it.
//
// Memory from `__heap_base` on: the artifact as it came (see kernels/artifact.py), its words and offsets, room for
// tokens and results, the arena of the model, and the stacks of further threads.

const ALIGN = 64;
const PAGE = 65536;
const MOST_PAGES = 16384; // what the threaded builds declare
const STACK = 65536;
const MAGIC = 0x344d4b4e; // "NKM4"
const FIXED = 16; // bytes before an artifact's header
const PIECE = 1 << 20; // bytes that have a checksum together
const KV_PAGE = 64; // positions
const MAX_EACH = 16;
/** Positions of a session and pages of all, from what is wanted to what is tried where memory is refused. */
const ROOM = [
  [2048, 64],
  [1024, 24],
  [512, 12],
];

/** @typedef {{ offset: number, bytes: number }} Place */
/** @typedef {{ kind: string, words: number[], sums: number[], tensors: Place[], config: Record<string, any>, start: number }} Header */
/** @typedef {{ level?: number, pages?: Int32Array, each?: number, allow?: Uint8Array }} How */
/**
 * One token each of `n` sessions, all arrays in their order: `tables` n pages' numbers of each, `allow` n bit sets, which
 * count where `masked` is 1.
 * @typedef {object} Batch
 * @property {number} level @property {number} top @property {Int32Array} tokens @property {Int32Array} places
 * @property {Int32Array} tables @property {Int32Array} masked @property {Uint8Array} allow
 */
/** @typedef {Error & { code?: string, hint?: string }} Failure */

/** @param {string} code @param {string} message @param {string} hint @returns {Failure} */
export function failure(code, message, hint) {
  return Object.assign(new Error(message), { name: 'NookError', code, hint });
}

const corrupt = () => failure('model-corrupt', 'The model file is damaged.', 'Reload the page; it is fetched again.');
const refused = () => failure('model-unsupported', 'The kernel cannot run this model.', 'Choose another model.');
const full = () =>
  failure('memory', 'There is not enough memory for the model.', 'Close other tabs, or search without it.');

/** Whether this browser has relaxed SIMD: validates a function that is one `i16x8.relaxed_dot_i8x16_i7x16_s`. */
export function relaxed() {
  const header = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
  const code = [10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 146, 2, 11];
  return WebAssembly.validate(new Uint8Array([...header, ...code]));
}

/** The build of the kernels that suits, or the `plain` one. @param {boolean} threads @param {boolean} [plain] */
export function build(threads, plain = false) {
  return `models.${relaxed() && !plain ? 'relaxed' : 'simd'}${threads ? '.threads' : ''}.wasm`;
}

export class WasmModel {
  /**
   * @param {WebAssembly.Module} module
   * @param {boolean} threads whether the module shares its memory
   */
  constructor(module, threads) {
    this.module = module;
    const memory = threads ? sharedMemory() : undefined;
    const instance = new WebAssembly.Instance(module, memory ? { env: { memory } } : {});
    /** @type {any} */
    this.exports = instance.exports;
    /** @type {WebAssembly.Memory} */
    this.memory = memory ?? this.exports.memory;
    this.top = round(this.exports.__heap_base.value);
    this.model = 0;
    this.file = 0;
    this.size = 0;
    this.received = 0;
    this.verified = 0; // pieces
    /** @type {Header | undefined} */
    this.said = undefined;
  }

  /** Where an artifact of `total` bytes goes; made for `into` of fetchAsset. @param {number} total */
  receive(total) {
    this.file = this.take(total);
    this.size = total;
    return {
      write: (/** @type {Uint8Array} */ chunk, /** @type {number} */ offset) => {
        new Uint8Array(this.memory.buffer).set(chunk, this.file + offset);
        this.received = offset + chunk.length;
        this.verify();
      },
    };
  }

  /** Holds what has arrived, which comes in order, against its checksums. */
  verify() {
    this.said ??= this.header();
    if (!this.said) return;
    const { start, sums } = this.said;
    for (; this.verified < sums.length; this.verified++) {
      const at = start + this.verified * PIECE;
      const end = Math.min(at + PIECE, this.size);
      if (end > this.received) return;
      if (this.sum(at, end) !== sums[this.verified]) throw corrupt();
    }
  }

  /** CRC-32 of bytes of the artifact. @param {number} start @param {number} end */
  sum(start, end) {
    return this.exports.models_crc(this.file + start, end - start) >>> 0;
  }

  /** The header of the artifact, once it has arrived. @returns {Header | undefined} */
  header() {
    if (this.received < Math.min(FIXED, this.size)) return undefined;
    const view = new DataView(this.memory.buffer, this.file, this.size);
    if (this.size < FIXED || view.getUint32(0, true) !== MAGIC) throw corrupt();
    const length = view.getUint32(4, true);
    const start = FIXED + length;
    if (start > this.size || start % ALIGN) throw corrupt();
    if (this.received < start) return undefined;
    if (this.sum(FIXED, start) !== view.getUint32(8, true)) throw corrupt();
    const bytes = new Uint8Array(this.memory.buffer).slice(this.file + FIXED, this.file + start);
    const said = JSON.parse(new TextDecoder().decode(bytes));
    const end = said.tensors.reduce(
      (/** @type {number} */ most, /** @type {Place} */ place) => Math.max(most, place.offset + place.bytes),
      0,
    );
    if (start + end > this.size) throw corrupt();
    return { ...said, start };
  }

  /** The header of an artifact that has arrived whole. */
  whole() {
    if (!this.said || this.verified < this.said.sums.length) throw corrupt();
    return this.said;
  }

  /** Takes `bytes` of memory at a multiple of 64. @param {number} bytes @returns {number} */
  take(bytes) {
    const at = this.top;
    const top = round(at + bytes);
    const missing = Math.ceil((top - this.memory.buffer.byteLength) / PAGE);
    try {
      if (missing > 0) this.memory.grow(missing);
    } catch {
      throw full();
    }
    this.top = top;
    return at;
  }

  /** Copies int32 values into memory of their own. @param {ArrayLike<number>} values */
  put(values) {
    const at = this.take(4 * values.length);
    new Int32Array(this.memory.buffer, at, values.length).set(values);
    return at;
  }
}

/** The encoder: all-MiniLM-L6-v2 and its kind. */
export class Encoder extends WasmModel {
  /** The artifact is there: make it run. */
  open() {
    const header = this.whole();
    const words = this.put(header.words);
    const offsets = this.put(header.tensors.map((tensor) => tensor.offset));
    const bytes = header.kind === 'encoder' ? this.exports.bert_bytes(words) : 0;
    if (!bytes) throw refused();
    this.width = header.words[1];
    this.positions = header.words[5];
    this.tokens = this.take(4 * this.positions);
    this.out = this.take(4 * this.width);
    this.model = this.exports.bert_open(this.take(bytes), words, offsets, this.file + header.start);
    return { dimensions: this.width };
  }

  /** The vector of one passage. @param {Int32Array} tokens @returns {Float32Array<ArrayBuffer>} */
  encode(tokens) {
    const wrong = () =>
      failure('tokens', `A sequence of ${tokens.length} tokens cannot be embedded.`, `Use 1 to ${this.positions}.`);
    if (!tokens.length || tokens.length > (this.positions ?? 0)) throw wrong();
    new Int32Array(this.memory.buffer, this.tokens, tokens.length).set(tokens);
    if (this.exports.bert_encode(this.model, this.tokens, tokens.length, this.out)) throw wrong();
    return new Float32Array(this.memory.buffer, this.out, this.width).slice();
  }
}

/** The language model: Llama's kind. */
export class LanguageModel extends WasmModel {
  /**
   * The artifact is there: make it run.
   *
   * @param {number} threads
   * @param {number[][]} [room] positions of a session and pages of all, what is wanted first
   */
  open(threads, room = ROOM) {
    const header = this.whole();
    const words = this.put(header.words);
    const offsets = this.put(header.tensors.map((tensor) => tensor.offset));
    this.vocabulary = header.words[5];
    const [context, pages, arena] = this.settle(words, threads, room, header.kind);
    this.context = context;
    this.pages = pages;
    this.tokens = this.take(4 * Math.max(context, MAX_EACH));
    this.table = this.take(4 * MAX_EACH * Math.ceil(context / KV_PAGE));
    this.allow = this.take(MAX_EACH * Math.ceil(this.vocabulary / 8));
    this.places = this.take(4 * MAX_EACH);
    this.masked = this.take(4 * MAX_EACH);
    this.ids = this.take(4 * MAX_EACH * this.vocabulary);
    this.logits = this.take(4 * MAX_EACH * this.vocabulary);
    this.scores = this.take(4 * context);
    const { exports, file } = this;
    this.model = exports.llama_open(arena, words, offsets, file + header.start, context, pages, threads);
    return { vocabulary: this.vocabulary, context, pages, config: header.config };
  }

  /**
   * The largest room that memory is granted for, and where it is.
   *
   * @param {number} words @param {number} threads @param {number[][]} room @param {string} kind
   */
  settle(words, threads, room, kind) {
    for (const [i, [context, pages]] of room.entries()) {
      const bytes = kind === 'lm' ? this.exports.llama_bytes(words, context, pages, threads) : 0;
      if (!bytes) throw refused();
      try {
        return [context, pages, this.take(bytes)];
      } catch (error) {
        if (i === room.length - 1) throw error;
      }
    }
    throw full();
  }

  /** What thread `me` needs to join in. @param {number} me */
  seat(me) {
    return { module: this.module, memory: this.memory, stack: this.take(STACK) + STACK, model: this.model, me };
  }

  /**
   * The `top` best tokens after each of the last `each` of `tokens`, which stand from position `at` on; see flow.py.
   *
   * @param {Int32Array} tokens @param {number} at @param {number} top @param {How} [how]
   * @returns {{ ids: Int32Array<ArrayBuffer>, logits: Float32Array<ArrayBuffer>, totals: Float32Array<ArrayBuffer> }}
   */
  forward(tokens, at, top, { level = 0, pages, each = 1, allow } = {}) {
    this.place(tokens, at, pages);
    const { buffer } = this.memory;
    if (allow) new Uint8Array(buffer, this.allow, Math.ceil((this.vocabulary ?? 0) / 8)).set(allow);
    const wanted = Math.min(top, this.vocabulary ?? 0);
    const out = [allow ? this.allow : 0, this.ids, this.logits, this.scores];
    const { model, exports, table } = this;
    const count = exports.llama_forward(model, this.tokens, tokens.length, at, table, level, wanted, each, ...out);
    this.check(count, tokens, at);
    return this.found(each === 1 ? count : each * wanted, each);
  }

  /**
   * The `top` best tokens after each of some tokens, each of which is of a session of its own; see elastic/batch.py.
   *
   * @param {Batch} batch
   * @returns {{ ids: Int32Array<ArrayBuffer>, logits: Float32Array<ArrayBuffer>, totals: Float32Array<ArrayBuffer> }}
   */
  batch({ level, top, tokens, places, tables, masked, allow }) {
    const count = tokens.length;
    const [stride, bytes] = [tables.length / count, allow.length / count];
    const wanted = Math.min(top, this.vocabulary ?? 0);
    const whole = !masked.includes(1) || bytes === Math.ceil((this.vocabulary ?? 0) / 8);
    if (count > MAX_EACH || !whole) throw failure('forward', `${count} tokens do not go together.`, '');
    for (const at of places) this.reaches(at + 1, stride);
    const { buffer } = this.memory;
    const put = (/** @type {number | undefined} */ at, /** @type {Int32Array} */ values) =>
      new Int32Array(buffer, at, values.length).set(values);
    put(this.tokens, tokens);
    put(this.places, places);
    put(this.table, tables);
    put(this.masked, masked);
    new Uint8Array(buffer, this.allow, allow.length).set(allow);
    const { model, exports } = this;
    const where = [this.tokens, count, this.places, this.table, stride];
    const out = [this.masked, this.allow, bytes, this.ids, this.logits, this.scores];
    this.check(exports.llama_batch(model, ...where, level, wanted, ...out), tokens, places[0]);
    return this.found(count * wanted, count);
  }

  /** What the kernel wrote: so many candidates, of so many rows. @param {number} count @param {number} rows */
  found(count, rows) {
    const { buffer } = this.memory;
    return {
      ids: new Int32Array(buffer, this.ids, count).slice(),
      logits: new Float32Array(buffer, this.logits, count).slice(),
      totals: new Float32Array(buffer, this.scores, rows).slice(),
    };
  }

  /**
   * The log-probabilities of all of `tokens` but the first.
   *
   * @param {Int32Array} tokens @param {number} at @param {How} [how]
   */
  score(tokens, at, { level = 0, pages } = {}) {
    this.place(tokens, at, pages);
    const { model, exports, table } = this;
    this.check(exports.llama_score(model, this.tokens, tokens.length, at, table, level, this.scores), tokens, at);
    return new Float32Array(this.memory.buffer, this.scores, tokens.length - 1).slice();
  }

  /** Makes page `target` hold what page `source` holds. @param {number} source @param {number} target */
  copy(source, target) {
    if (this.exports.llama_copy(this.model, source, target)) {
      throw failure('forward', `There are no pages ${source} and ${target}.`, '');
    }
  }

  /** Reads all weights once with all threads and does nothing with them. Returns the bytes. */
  read() {
    const { start } = this.whole();
    this.exports.llama_read(this.model, this.file + start, this.size - start);
    return this.size - start;
  }

  /** Puts tokens and their pages where the kernel reads them. @param {Int32Array} tokens @param {number} at @param {Int32Array} [pages] */
  place(tokens, at, pages) {
    const needed = Math.ceil((at + tokens.length) / KV_PAGE);
    const table = pages?.length ? pages : Int32Array.from({ length: needed }, (_, i) => i);
    this.reaches(at + tokens.length, table.length);
    const { buffer } = this.memory;
    new Int32Array(buffer, this.tokens, tokens.length).set(tokens);
    new Int32Array(buffer, this.table, needed).set(table.subarray(0, needed));
  }

  /** Whether there is room for so many positions, on so many pages. @param {number} end @param {number} pages */
  reaches(end, pages) {
    if (end > (this.context ?? 0)) {
      throw failure('context', `The model reads ${this.context} tokens at most.`, 'Shorten the prompt.');
    }
    if (pages * KV_PAGE < end) throw failure('forward', `${pages} pages do not hold ${end} positions.`, '');
  }

  /** @param {number} result of a call @param {Int32Array} tokens @param {number} at */
  check(result, tokens, at) {
    if (result === -3) {
      throw failure('tokens', "A token is not in the model's vocabulary.", "Use the model's own tokenizer.");
    }
    if (result < 0) {
      throw failure('forward', `${tokens.length} tokens at ${at} do not continue what the model has read.`, '');
    }
  }
}

/** @param {number} n */
function round(n) {
  return Math.ceil(n / ALIGN) * ALIGN;
}

function sharedMemory() {
  try {
    return new WebAssembly.Memory({ initial: 4, maximum: MOST_PAGES, shared: true });
  } catch {
    throw full();
  }
}
