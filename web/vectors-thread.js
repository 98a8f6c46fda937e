// A helper of the engine's worker: does calls of the vector kernels in shared memory, one after the other, until its
// worker is ended. lib/helpers.js is the other side.

import { BUSY, CALLS, DONE, FAILED, NAMES } from './lib/helpers.js';

self.onmessage = ({ data: { module, memory, stack, slot } }) => {
  /** @type {any} */
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  exports.__stack_pointer.value = stack;
  const words = new Int32Array(memory.buffer, slot, CALLS);
  self.postMessage('ready');
  for (;;) {
    let state = Atomics.load(words, 0);
    while (state !== BUSY) {
      Atomics.wait(words, 0, state);
      state = Atomics.load(words, 0);
    }
    const [, name, count, ...numbers] = words;
    state = DONE;
    try {
      exports[NAMES[name]](...numbers.slice(0, count));
    } catch {
      state = FAILED;
    }
    Atomics.store(words, 0, state);
    Atomics.notify(words, 0);
  }
};
