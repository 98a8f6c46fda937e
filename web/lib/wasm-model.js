// One model in one WebAssembly instance: its memory, its weights, and what the C functions of wasm/ need to run it.
//
// Memory from `__heap_base` on: the artifact as it came (see kernels/artifact.py), its words and offsets, room for
// tokens and results, the arena of the model, and the stacks of further threads.

const ALIGN = 64;
const PAGE = 65536;
const MOST_PAGES = 16384; // what the threaded builds declare
const STACK = 65536;
const MAGIC = 0x314d4b4e; // "NKM1"

/** @typedef {{ kind: string, words: number[], tensors: { offset: number }[], config: Record<string, any> }} Header */
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

/** The build of the kernels that suits. @param {boolean} threads */
export function build(threads) {
  return `models.${relaxed() ? 'relaxed' : 'simd'}${threads ? '.threads' : ''}.wasm`;
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
  }

  /** Where an artifact of `total` bytes goes; made for `into` of fetchAsset. @param {number} total */
  receive(total) {
    this.file = this.take(total);
    this.size = total;
    return {
      write: (/** @type {Uint8Array} */ chunk, /** @type {number} */ offset) =>
        new Uint8Array(this.memory.buffer).set(chunk, this.file + offset),
    };
  }

  /** The header of the artifact that was received. @returns {Header & { start: number }} */
  header() {
    const view = new DataView(this.memory.buffer, this.file, this.size);
    if (this.size < 8 || view.getUint32(0, true) !== MAGIC) throw corrupt();
    const length = view.getUint32(4, true);
    if (8 + length > this.size || (8 + length) % ALIGN) throw corrupt();
    const bytes = new Uint8Array(this.memory.buffer).slice(this.file + 8, this.file + 8 + length);
    try {
      return { ...JSON.parse(new TextDecoder().decode(bytes)), start: 8 + length };
    } catch {
      throw corrupt();
    }
  }

  /** Takes `bytes` of memory at a multiple of 64. @param {number} bytes @returns {number} */
  take(bytes) {
    const at = this.top;
    this.top = round(at + bytes);
    const missing = Math.ceil((this.top - this.memory.buffer.byteLength) / PAGE);
    try {
      if (missing > 0) this.memory.grow(missing);
    } catch {
      throw full();
    }
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
    const header = this.header();
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
  /** The artifact is there: make it run. @param {number} context positions of the cache @param {number} threads */
  open(context, threads) {
    const header = this.header();
    const words = this.put(header.words);
    const offsets = this.put(header.tensors.map((tensor) => tensor.offset));
    const bytes = header.kind === 'lm' ? this.exports.llama_bytes(words, context, threads) : 0;
    if (!bytes) throw refused();
    this.context = context;
    this.vocabulary = header.words[5];
    this.tokens = this.take(4 * context);
    this.ids = this.take(4 * this.vocabulary);
    this.logits = this.take(4 * this.vocabulary);
    const arena = this.take(bytes);
    this.model = this.exports.llama_open(arena, words, offsets, this.file + header.start, context, threads);
    return { vocabulary: this.vocabulary, context };
  }

  /** What thread `me` needs to join in. @param {number} me */
  seat(me) {
    return { module: this.module, memory: this.memory, stack: this.take(STACK) + STACK, model: this.model, me };
  }

  /**
   * The `top` best tokens after `tokens`, which stand from position `at` on.
   *
   * @param {Int32Array} tokens @param {number} at @param {number} top
   * @returns {{ ids: Int32Array<ArrayBuffer>, logits: Float32Array<ArrayBuffer> }}
   */
  forward(tokens, at, top) {
    if (at + tokens.length > (this.context ?? 0)) {
      throw failure('context', `The model reads ${this.context} tokens at most.`, 'Shorten the prompt.');
    }
    const { buffer } = this.memory;
    new Int32Array(buffer, this.tokens, tokens.length).set(tokens);
    const wanted = Math.min(top, this.vocabulary ?? 0);
    const { model, exports } = this;
    const count = exports.llama_forward(model, this.tokens, tokens.length, at, wanted, this.ids, this.logits);
    if (count < 0) {
      throw failure('forward', `${tokens.length} tokens at ${at} do not continue what the model has read.`, '');
    }
    return {
      ids: new Int32Array(buffer, this.ids, count).slice(),
      logits: new Float32Array(buffer, this.logits, count).slice(),
    };
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
