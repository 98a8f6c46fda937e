// A model of this release, fetched into a WebAssembly instance: in a worker of its own, or in the one that asks.

import { fetchAsset, forgetAsset } from './assets.js';
import { build, Encoder, LanguageModel } from './wasm-model.js';

export const MODELS = {
  encoder: 'static/models/minilm-l6.nkm',
  lm: 'static/models/smollm2-135m-instruct.nkm',
};

/**
 * The model with its weights in place; its `open` is still to be called.
 *
 * @template {'encoder' | 'lm'} Kind
 * @param {Kind} kind @param {boolean} threads @param {(done: number, total: number) => void} [onProgress] bytes
 * @param {boolean} [plain] without relaxed SIMD
 * @returns {Promise<Kind extends 'encoder' ? Encoder : LanguageModel>}
 */
export async function fetchModel(kind, threads, onProgress, plain = false) {
  const code = await fetchAsset(`static/kernels/${build(threads, plain)}`);
  const module = await WebAssembly.compile(/** @type {any} */ (code));
  const receive = async () => {
    const made = kind === 'encoder' ? new Encoder(module, false) : new LanguageModel(module, threads);
    await fetchAsset(MODELS[kind], { onProgress, into: (total) => made.receive(total) });
    return /** @type {any} */ (made);
  };
  try {
    return await receive();
  } catch (error) {
    if (/** @type {any} */ (error).code !== 'model-corrupt') throw error;
    await forgetAsset(MODELS[kind]); // what was kept is damaged: once more, from the network
    return receive();
  }
}
