// One build of our kernel, for tests/bench/exact.py: { build } once, then { tokens: prompts } answers with a digest of
// all logits of each prompt, { whole: tokens } with the logits themselves.

import { LanguageModel } from '/lib/wasm-model.js';

/** @type {any} */
let model;

/** @param {string} path */
const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());

/** @param {string} build */
async function load(build) {
  const threads = build.endsWith('threads') ? 2 : 1;
  const module = await WebAssembly.compile(await bytes(`/static/kernels/models.${build}.wasm`));
  model = new LanguageModel(module, threads > 1);
  const file = await bytes('/static/models/smollm2-135m-instruct.nkm');
  model.receive(file.length).write(file, 0);
  model.open(threads);
  for (let me = 1; me < threads; me++) {
    const thread = new Worker('/kernel-thread.js', { type: 'module' });
    await new Promise((resolve) => {
      thread.onmessage = resolve;
      thread.postMessage(model.seat(me));
    });
  }
  return threads;
}

/** All logits of a prompt, one position after the other. @param {number[]} tokens @returns {Float32Array<ArrayBuffer>} */
function logits(tokens) {
  model.forward(Int32Array.from(tokens), 0, 1, { each: tokens.length });
  const out = new Float32Array(tokens.length * model.vocabulary);
  for (let row = 0; row < tokens.length; row++) {
    const at = model.exports.llama_logits(model.model, row);
    out.set(new Float32Array(model.memory.buffer, at, model.vocabulary), row * model.vocabulary);
  }
  return out;
}

/** @param {Float32Array<ArrayBuffer>} values */
async function digest(values) {
  const found = new Uint8Array(await crypto.subtle.digest('SHA-256', values));
  return Array.from(found, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

self.onmessage = async ({ data: { build, tokens, whole } }) => {
  try {
    if (build) self.postMessage({ result: await load(build) });
    else if (whole) self.postMessage({ result: Array.from(logits(whole)) });
    else {
      const result = [];
      for (const prompt of tokens) result.push(await digest(logits(prompt)));
      self.postMessage({ result });
    }
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};
