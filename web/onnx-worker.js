// The worker of ONNX models: onnxruntime-web, fed by web/lib/onnx.js. Its files come from static/ort/.
//
// It runs one thing at a time, in the order of arrival. Threads are used where the page is cross-origin isolated, the
// graphics processor where it is asked for, there, and its (much larger) runtime part of the release.

import { assets, fetchAsset } from './lib/assets.js';
import { abortError } from './lib/errors.js';
import { download } from './lib/prebuilt.js';

const ORT = new URL('./static/ort/', import.meta.url);
const MOST_THREADS = 4;
const RUNTIMES = {
  webgpu: ['ort.webgpu.min.mjs', 'ort-wasm-simd-threaded.asyncify'],
  wasm: ['ort.wasm.min.mjs', 'ort-wasm-simd-threaded'],
};

/**
 * A tensor as it crosses: `data` holds its elements' bytes.
 * @typedef {{ name: string, type: string, dims: number[], data: Uint8Array }} Tensor
 */

/** @type {Record<string, any>} element type → the typed array that holds it */
const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: /** @type {any} */ (globalThis).Float16Array ?? Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};

/** @type {Map<string, Promise<any>>} */
const runtimes = new Map();
/** @type {Map<number, { ort: any, session: any }>} */
const sessions = new Map();

/** @param {'webgpu' | 'wasm'} provider @returns {Promise<any>} onnxruntime-web, ready to make sessions */
function runtime(provider) {
  const [script, wasm] = RUNTIMES[provider];
  let ready = runtimes.get(script);
  if (!ready) {
    ready = load(script, wasm);
    ready.catch(() => runtimes.delete(script)); // a download that broke off may be tried again
    runtimes.set(script, ready);
  }
  return ready;
}

/** @param {string} script @param {string} wasm */
async function load(script, wasm) {
  const [ort, binary] = await Promise.all([import(new URL(script, ORT).href), fetchAsset(`static/ort/${wasm}.wasm`)]);
  ort.env.logLevel = 'error';
  ort.env.wasm.wasmPaths = { mjs: new URL(`${wasm}.mjs`, ORT).href };
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  return ort;
}

/** Whether a session could run on the graphics processor. */
async function gpu() {
  const files = await assets();
  const adapter = await /** @type {any} */ (navigator).gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && files.has(`static/ort/${RUNTIMES.webgpu[1]}.wasm`);
}

/** @type {Map<number, AbortController>} of the sessions that are being made */
const making = new Map();

/** @param {{ id: number, session: number, model: Uint8Array | string, providers: string[] }} request */
async function create({ id, session: number, model, providers }) {
  const { signal } = /** @type {AbortController} */ (making.get(number));
  const onProgress = (/** @type {number} */ done, /** @type {number} */ total) => postMessage({ id, done, total });
  signal.throwIfAborted();
  const bytes = typeof model === 'string' ? await file(model, onProgress, signal) : model;
  signal.throwIfAborted();
  const before = providers.slice(0, providers.includes('wasm') ? providers.indexOf('wasm') : undefined);
  if (before.includes('webgpu') && (await gpu())) {
    try {
      return await make(number, bytes, 'webgpu');
    } catch (error) {
      console.warn('WebGPU was tried and failed; the processor serves instead.', error);
    }
  }
  return make(number, bytes, 'wasm');
}

/**
 * An asset of this release, or what is at a URL.
 * @param {string} model @param {(done: number, total: number) => void} onProgress @param {AbortSignal} signal
 * @returns {Promise<Uint8Array>}
 */
async function file(model, onProgress, signal) {
  if (!/^https?:/.test(model)) return fetchAsset(model, { onProgress, signal });
  let why = 'no answer';
  let hint = 'Check the connection, and that the page may connect there.';
  try {
    const response = await fetch(model, { signal });
    if (response.ok) {
      why = 'it broke off';
      return await download(response, onProgress);
    }
    why = `HTTP ${response.status}`;
    hint = 'Check the address.';
  } catch {
    if (signal.aborted) throw abortError(signal);
  }
  throw Object.assign(new Error(`The model at ${model} could not be loaded: ${why}.`), { code: 'model-missing', hint });
}

/** @param {number} number @param {Uint8Array} bytes @param {'webgpu' | 'wasm'} provider */
async function make(number, bytes, provider) {
  const ort = await runtime(provider);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: [provider] });
  sessions.set(number, { ort, session });
  const describe = (/** @type {any} */ { name, type, shape }) => ({
    name,
    type: type ?? '',
    shape: [...(shape ?? [])],
  });
  return {
    session: number,
    provider,
    inputs: session.inputMetadata.map(describe),
    outputs: session.outputMetadata.map(describe),
  };
}

/** @param {{ session: number, outputs: string[], feeds: Tensor[] }} request @returns {Promise<Tensor[]>} */
async function run({ session: number, outputs, feeds }) {
  const found = sessions.get(number);
  if (!found) throw new Error('The session is closed.');
  const { ort, session } = found;
  const tensor = (/** @type {Tensor} */ { type, dims, data }) =>
    new ort.Tensor(type, new ARRAYS[type](data.buffer, 0, data.byteLength / ARRAYS[type].BYTES_PER_ELEMENT), dims);
  const results = await session.run(Object.fromEntries(feeds.map((feed) => [feed.name, tensor(feed)])), outputs);
  return outputs.map((name) => {
    const { type, dims, data } = results[name];
    if (!(type in ARRAYS)) throw new Error(`The output '${name}' is of type ${type}, which is not supported.`);
    return { name, type, dims: [...dims], data: own(data) };
  });
}

/** The bytes of a typed array in a buffer that can be handed over: a copy if the runtime owns it. @param {any} data */
function own({ buffer, byteOffset, byteLength }) {
  const whole = byteOffset === 0 && byteLength === buffer.byteLength && buffer instanceof ArrayBuffer;
  return whole ? new Uint8Array(buffer) : new Uint8Array(buffer, byteOffset, byteLength).slice();
}

/** @param {{ session: number }} request */
async function release({ session: number }) {
  const found = sessions.get(number);
  sessions.delete(number);
  await found?.session.release();
}

/** @type {Record<string, (request: any) => Promise<any>>} */
const VERBS = { create, run, release };
let turn = Promise.resolve();

self.onmessage = ({ data }) => {
  const { verb, session } = data;
  if (verb === 'stop') {
    making.get(session)?.abort();
    return;
  }
  if (verb === 'create') making.set(session, new AbortController());
  turn = turn.then(() => serve(data));
};

/** @param {any} request `verb` and `id`, and what the verb takes */
async function serve(request) {
  const { verb, id } = request;
  try {
    const answer = await VERBS[verb](request);
    const handed = verb === 'run' ? /** @type {Tensor[]} */ (answer).map(({ data }) => data.buffer) : [];
    postMessage({ id, answer }, /** @type {any} */ ([...new Set(handed)]));
  } catch (thrown) {
    const error = /** @type {any} */ (thrown);
    const message = error?.message ?? String(error); // a C++ exception arrives as a number
    // After a trap (out of memory, mostly) the runtime's memory is in no known state: the client ends this worker.
    const broken = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
    postMessage({ id, error: { code: error?.code ?? 'onnx', message, hint: error?.hint ?? '' }, broken });
  }
  if (verb === 'create') making.delete(request.session);
}
