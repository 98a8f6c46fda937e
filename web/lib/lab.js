// Language models of this release in the thread that asks, one pass after the other: what the doctor takes apart.
// Python reaches it through pysrc/inglenook/platform/browser/workbench/kit.py.

import { fetchAsset } from './assets.js';
import { MODELS } from './load-model.js';
import { build, LanguageModel } from './wasm-model.js';

const BESIDE = MODELS.lm.replace(/nkm$/, '');
/** Positions of a session, and pages of all: enough for the doctor's prompts, and to run out of. */
const ROOM = [[1024, 24]];

/** The files, and models made of them. */
export class Lab {
  /** @param {(done: number, total: number) => void} onProgress bytes @returns {Promise<Lab>} */
  static async open(onProgress) {
    const wasm = async (/** @type {string} */ name) => WebAssembly.compile(await fetchAsset(`static/kernels/${name}`));
    const [artifact, tokenizer, check, fast, plain] = await Promise.all([
      fetchAsset(MODELS.lm, { onProgress }),
      fetchAsset(`${BESIDE}tokenizer.json`),
      fetchAsset(`${BESIDE}check.json`),
      wasm(build(false)),
      wasm(build(false, true)),
    ]);
    return new Lab({ artifact, tokenizer, check, fast, plain });
  }

  /**
   * @param {{ artifact: Uint8Array, tokenizer: Uint8Array, check: Uint8Array, fast: WebAssembly.Module,
   *   plain: WebAssembly.Module }} files
   */
  constructor(files) {
    this.files = files;
    this.build = build(false);
    this.tokenizer = files.tokenizer;
    this.check = files.check;
  }

  /**
   * A model, ready for passes. @param {boolean} plain by the build that any browser runs
   * @param {string} damage what is wrong with its file, '' if nothing is
   */
  open(plain, damage) {
    const { artifact } = this.files;
    const model = new LanguageModel(plain ? this.files.plain : this.files.fast, false);
    const into = model.receive(artifact.length);
    if (damage === 'model cut short') into.write(artifact.subarray(0, Math.floor((artifact.length * 2) / 3)), 0);
    else if (damage) {
      const at = damage === 'later format of the model' ? 3 : artifact.length - 4000;
      into.write(artifact.subarray(0, at), 0);
      into.write(Uint8Array.of(artifact[at] ^ 4), at);
      into.write(artifact.subarray(at + 1), at + 1);
    } else into.write(artifact, 0);
    model.open(1, ROOM);
    return model;
  }
}
