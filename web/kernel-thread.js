// A further thread of the language model: sits down at the shared memory and works until its worker is ended.

self.onmessage = ({ data: { module, memory, stack, model, me } }) => {
  /** @type {any} */
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  exports.__stack_pointer.value = stack;
  self.postMessage('ready');
  exports.llama_thread(model, me);
};
