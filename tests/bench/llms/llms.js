// The engines that `build.py bench elastic` compares with, ours among them, each behind the same few words:
//
//   const llm = await LLMS.name({ model, threads });   // model: URL of the weights in the engine's own format
//   await llm.read(tokens, text);                      // the prompt anew, as its tokens or as its text
//   await llm.write(count);                            // greedily on from there
//
// Both answer how many tokens it was and how many milliseconds it took, by the engine's own clock where it has one.

/** @typedef {{ n: number, ms: number }} Took */
/** @typedef {{ read(tokens: number[], text: string): Promise<Took>, write(count: number): Promise<Took> }} Llm */
/** @typedef {{ model: string, threads: number }} Options */

const MODULES = '/llms/node_modules';
const CONTEXT = 2048;
const CHUNK = 64;

/** @param {() => Promise<any>} work @returns {Promise<number>} milliseconds */
async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** @type {Record<string, (options: Options) => Promise<Llm>>} */
export const LLMS = {
  async ours({ threads }) {
    const { Kernels } = await import('/lib/kernels.js');
    const kernels = new Kernels({ base: new URL('/', location.href), threads });
    await kernels.load('lm');
    let best;
    let at = 0;
    return {
      async read(tokens) {
        const ms = await timed(async () => {
          for (at = 0; at < tokens.length; at += CHUNK) {
            best = await kernels.forward(Int32Array.from(tokens.slice(at, at + CHUNK)), at, 64);
          }
        });
        at = tokens.length;
        return { n: tokens.length, ms };
      },
      async write(count) {
        const ms = await timed(async () => {
          for (let i = 0; i < count; i++) best = await kernels.forward(best.ids.slice(0, 1), at++, 64);
        });
        return { n: count, ms };
      },
    };
  },

  async 'wllama-2'({ model, threads }) {
    const { Wllama } = await import(`${MODULES}/wllama-2/esm/index.js`);
    const kinds = ['single-thread', 'multi-thread'];
    const paths = kinds.map((kind) => [`${kind}/wllama.wasm`, `${MODULES}/wllama-2/esm/${kind}/wllama.wasm`]);
    const wllama = new Wllama(Object.fromEntries(paths), { suppressNativeLog: true });
    await wllama.loadModelFromUrl(model, { n_ctx: CONTEXT, n_threads: threads, n_batch: 512, useCache: false });
    return {
      async read(tokens) {
        await wllama.kvClear();
        await wllama.samplingInit({ temp: 0 });
        return { n: tokens.length, ms: await timed(() => wllama.decode(tokens, {})) };
      },
      async write(count) {
        const ms = await timed(async () => {
          for (let i = 0; i < count; i++) {
            const { token } = await wllama.samplingSample();
            await wllama.samplingAccept([token]);
            await wllama.decode([token], {});
          }
        });
        return { n: count, ms };
      },
    };
  },

  async wllama({ model, threads }) {
    const { Wllama } = await import(`${MODULES}/@wllama/wllama/esm/index.js`);
    const paths = { default: `${MODULES}/@wllama/wllama/esm/wasm/wllama.wasm` };
    const wllama = new Wllama(paths, { suppressNativeLog: true });
    const plain = { n_gpu_layers: 0, useCache: false };
    await wllama.loadModelFromUrl(model, { n_ctx: CONTEXT, n_threads: threads, n_batch: 512, ...plain });
    // It has no calls for the parts: one that writes a single token is the reading, a second one goes on from its cache.
    const ask = { prompt: '', temperature: 0, ignore_eos: true };
    return {
      async read(_, text) {
        ask.prompt = text;
        const { timings } = await wllama.createCompletion({ ...ask, max_tokens: 1, cache_prompt: false });
        return { n: timings.prompt_n, ms: timings.prompt_ms };
      },
      async write(count) {
        const { timings } = await wllama.createCompletion({ ...ask, max_tokens: count, cache_prompt: true });
        return { n: timings.predicted_n, ms: timings.predicted_ms };
      },
    };
  },

  async 'onnxruntime-web'({ model, threads }) {
    const ort = await import(`${MODULES}/onnxruntime-web/dist/ort.wasm.min.mjs`);
    ort.env.wasm.wasmPaths = new URL(`${MODULES}/onnxruntime-web/dist/`, location.href).href;
    ort.env.wasm.numThreads = threads;
    const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
    const whole = (/** @type {number[]} */ values) =>
      new ort.Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
    const range = (/** @type {number} */ from, /** @type {number} */ to) =>
      Array.from({ length: to - from }, (_, i) => from + i);
    /** @type {any} */
    let past;
    let token = 0;
    let at = 0;
    const step = async (/** @type {number[]} */ tokens) => {
      const feeds = {
        ...past,
        input_ids: whole(tokens),
        attention_mask: whole(Array(at + tokens.length).fill(1)),
        position_ids: whole(range(at, at + tokens.length)),
        num_logits_to_keep: new ort.Tensor('int64', [1n], []),
      };
      const { logits, ...present } = await session.run(feeds);
      past = Object.fromEntries(
        Object.entries(present).map(([name, value]) => [name.replace('present', 'past_key_values'), value]),
      );
      at += tokens.length;
      const { data } = logits;
      token = 0;
      for (let i = 1; i < data.length; i++) if (data[i] > data[token]) token = i;
    };
    const { dims } = session.inputMetadata.find((/** @type {any} */ input) => input.name === 'past_key_values.0.key');
    const [heads, size] = [1, 3].map((i) => Number((dims ?? [1, 3, 0, 64])[i]));
    return {
      async read(tokens) {
        const names = session.inputNames.filter((/** @type {string} */ name) => name.startsWith('past_key_values'));
        const empty = () => new ort.Tensor('float32', new Float32Array(0), [1, heads, 0, size]);
        past = Object.fromEntries(names.map((/** @type {string} */ name) => [name, empty()]));
        at = 0;
        return { n: tokens.length, ms: await timed(() => step(tokens)) };
      },
      async write(count) {
        const ms = await timed(async () => {
          for (let i = 0; i < count; i++) await step([token]);
        });
        return { n: count, ms };
      },
    };
  },

  async 'transformers.js'({ model, threads }) {
    const { AutoModelForCausalLM, Tensor, env } = await import(
      `${MODULES}/@huggingface/transformers/dist/transformers.web.js`
    );
    const at = new URL(`${MODULES}/onnxruntime-web/dist/`, location.href).href;
    const name = `${at}ort-wasm-simd-threaded.asyncify`;
    Object.assign(env.backends.onnx.wasm, { wasmPaths: { mjs: `${name}.mjs`, wasm: `${name}.wasm` } });
    env.backends.onnx.wasm.numThreads = threads;
    Object.assign(env, {
      allowLocalModels: true,
      allowRemoteModels: false,
      localModelPath: '/',
      useBrowserCache: false,
    });
    const folder = model
      .replace(location.origin, '')
      .replace(/\/onnx\/model.onnx$/, '')
      .slice(1);
    const loaded = await AutoModelForCausalLM.from_pretrained(folder, { dtype: 'fp32', device: 'wasm' });
    const whole = (/** @type {bigint[]} */ values) =>
      new Tensor('int64', BigInt64Array.from(values), [1, values.length]);
    /** @type {bigint[]} */
    let all = [];
    /** @type {any} */
    let past;
    const go = async (/** @type {number} */ count) => {
      const given = { input_ids: whole(all), attention_mask: whole(all.map(() => 1n)), past_key_values: past };
      const how = { do_sample: false, max_new_tokens: count, min_new_tokens: count, return_dict_in_generate: true };
      const made = await loaded.generate({ ...given, ...how });
      past = made.past_key_values;
      all = Array.from(made.sequences.data, BigInt);
    };
    return {
      async read(tokens) {
        all = tokens.map(BigInt);
        past = null;
        return { n: tokens.length, ms: await timed(() => go(1)) };
      },
      async write(count) {
        return { n: count, ms: await timed(() => go(count)) };
      },
    };
  },
};
