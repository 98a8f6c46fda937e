// A worker with one model in it, ours to call: lib/kernels.js is the other side.
//
// Takes { id, op: "load", kind, threads, plain } once, then { id, op: "encode", tokens, urgent }, or of a language model
// { id, op: "forward", tokens, at, top, how }, { id, op: "batch", batch }, { id, op: "score", tokens, at, how },
// { id, op: "copy", source, target } and { id, op: "read" }, and does one after the other, urgent ones first. Answers
// { id, done, total } while it loads, { id, result }, or { id, error: { code, message, hint }, fatal }. To stop it, end it.

import { fetchModel } from './lib/load-model.js';
import { spawn } from './lib/spawn.js';
import { build, Encoder, failure, LanguageModel } from './lib/wasm-model.js';

/** @type {Encoder | LanguageModel | undefined} */
let model;

/**
 * @param {{ kind: 'encoder' | 'lm', threads: number, plain?: boolean }} what
 * @param {(done: number, total: number) => void} onProgress
 */
async function load({ kind, threads, plain }, onProgress) {
  const made = await fetchModel(kind, threads > 1, onProgress, plain);
  const info = made instanceof Encoder ? made.open() : made.open(threads);
  if (made instanceof LanguageModel) {
    await Promise.all(Array.from({ length: threads - 1 }, (_, i) => seat(made, i + 1)));
  }
  model = made;
  return { kind, build: build(threads > 1, plain), threads, bytes: made.memory.buffer.byteLength, ...info };
}

/** Starts a thread and waits until it sits at its place. @param {LanguageModel} made @param {number} me */
function seat(made, me) {
  const thread = spawn(new URL('./kernel-thread.js', import.meta.url), `inglenook-lm-${me}`);
  return new Promise((resolve, reject) => {
    thread.onmessage = resolve;
    thread.onerror = () => reject(failure('worker-died', 'A thread of the model did not start.', 'Load it again.'));
    thread.postMessage(made.seat(me));
  });
}

/** @param {any} job @param {(done: number, total: number) => void} progress */
function run(job, progress) {
  if (job.op === 'load') return load(job, progress);
  if (job.op === 'encode' && model instanceof Encoder) return model.encode(job.tokens);
  if (model instanceof LanguageModel) {
    if (job.op === 'forward') return model.forward(job.tokens, job.at, job.top, job.how);
    if (job.op === 'batch') return model.batch(job.batch);
    if (job.op === 'score') return model.score(job.tokens, job.at, job.how);
    if (job.op === 'copy') return model.copy(job.source, job.target);
    if (job.op === 'read') return model.read();
  }
  throw failure('model-missing', 'No model is loaded.', 'Load it first.');
}

/** @type {any[]} jobs that wait */
const jobs = [];
let busy = false;
// A job begins after all that has arrived is received, urgent ones perhaps: a message to ourselves stands behind them.
const turn = new MessageChannel();
turn.port1.onmessage = work;

self.onmessage = ({ data: job }) => {
  const ordinary = job.urgent ? jobs.findIndex((other) => !other.urgent) : -1;
  jobs.splice(ordinary < 0 ? jobs.length : ordinary, 0, job);
  if (!busy) turn.port2.postMessage(null);
  busy = true;
};

/** Does the first of the jobs, and sees to it that the next is done. */
async function work() {
  const job = jobs.shift();
  const { id } = job;
  try {
    const result = await run(job, (done, total) => self.postMessage({ id, done, total }));
    self.postMessage({ id, result });
  } catch (/** @type {any} */ error) {
    const trapped = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
    const { message, code = trapped ? 'worker-died' : 'kernel', hint = 'Try again; the model is loaded anew.' } = error;
    self.postMessage({ id, error: { code, message, hint }, fatal: trapped || job.op === 'load' });
  }
  busy = jobs.length > 0;
  if (busy) turn.port2.postMessage(null);
}
