// Python's memory as the build left it, with numpy and the engine imported: a start that imports nothing.
//
// A memory holds the addresses of its libraries' functions and data, so numpy's libraries must lie where they lay when
// it was taken. They do, because here and in the build (buildlib/runtime.mjs) they are linked first of all, before
// Python takes any memory: into the same places of the table of functions and of the memory. Two numbers behind the
// snapshot tell these places, and where they differ Python starts the slow way. All of this is beside Pyodide's public
// interface, so it fits one version of it.

import { files } from './unpack.js';

/** What `import numpy` links, in this order. */
const LINKED = ['numpy/_core/_multiarray_umath', 'numpy/linalg/_umath_linalg'];

/** Libraries' functions begin at a multiple of this. */
const ROUND = 1024;

/** @typedef {Array<[string, WebAssembly.Module]>} Libraries by their paths, in the order in which they are linked */
/** @typedef {{ functions: number, memory: number }} Layout where the linked libraries end */

/**
 * The libraries that a snapshot was taken with, out of numpy's archive.
 * @param {Uint8Array<ArrayBuffer>} tar @param {string} folder where its files lie @returns {Promise<Libraries>}
 */
export function libraries(tar, folder) {
  const found = [...files(tar)];
  return Promise.all(
    LINKED.map(async (start) => {
      const [name, bytes] = found.find(([name]) => name.startsWith(`${start}.`)) ?? [];
      if (!name || !bytes) throw new Error(`numpy has no ${start}`);
      return /** @type {[string, WebAssembly.Module]} */ ([`${folder}/${name}`, await WebAssembly.compile(bytes)]);
    }),
  );
}

/**
 * What makes Pyodide's module, as `loadPyodide` takes it, with libraries linked before Python starts.
 * @param {(settings: any) => Promise<any>} create @param {Libraries | Promise<Libraries>} libraries
 * @param {(module: any, layout: Layout) => void | Promise<void>} linked is told where they lie
 */
export function linking(create, libraries, linked) {
  return async (/** @type {any} */ settings) => {
    /** @type {any} */
    let failure;
    /** @type {Layout} */
    let layout = { functions: 0, memory: 0 };
    const link = async (/** @type {any} */ module) => {
      const length = module.wasmTable.length; // browsers put a function or two of their own there
      module.wasmTable.grow(Math.ceil(length / ROUND) * ROUND - length);
      for (const [path, library] of await libraries) {
        const flags = { loadAsync: true, nodelete: true };
        module.preloadedWasm[path] = await module.loadWebAssemblyModule(library, flags, path, {});
      }
      const end = module.HEAPU32[module._emscripten_get_sbrk_ptr() >>> 2];
      layout = { functions: module.wasmTable.length, memory: end };
    };
    settings.preRun.push((/** @type {any} */ module) => {
      module.addRunDependency('libraries');
      link(module)
        .catch((error) => {
          failure = error;
        })
        .finally(() => module.removeRunDependency('libraries'));
    });
    const module = await create(settings);
    if (failure) throw failure;
    await linked(module, layout);
    return module;
  };
}

/**
 * Start from a snapshot.
 * @param {(options: object) => Promise<any>} loadPyodide @param {object} options
 * @param {(settings: any) => Promise<any>} create @param {Libraries | Promise<Libraries>} libraries
 * @param {{ bytes: Uint8Array, filled: Promise<unknown> }} snapshot its bytes may still be on their way
 */
export function restore(loadPyodide, options, create, libraries, { bytes, filled }) {
  const whole = bytes.subarray(0, -8);
  const createPyodideModule = linking(create, libraries, async (module, layout) => {
    await filled;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const lay = { functions: view.getUint32(whole.length, true), memory: view.getUint32(whole.length + 4, true) };
    if (lay.functions !== layout.functions || lay.memory !== layout.memory) {
      throw new Error('numpy lies elsewhere in this browser');
    }
    const size = whole.length - view.getUint32(4, true); // without Pyodide's own head
    if (size > module.HEAPU8.length && !module.growMemory(size)) throw new Error('too little memory');
  });
  return loadPyodide({ ...options, _loadSnapshot: whole, createPyodideModule });
}

/** A snapshot, as `restore` takes it. @param {Uint8Array} memory @param {Layout} layout */
export function sealed(memory, { functions, memory: end }) {
  const bytes = new Uint8Array(memory.length + 8);
  bytes.set(memory);
  const view = new DataView(bytes.buffer);
  view.setUint32(memory.length, functions, true);
  view.setUint32(memory.length + 4, end, true);
  return bytes;
}
