// Passes the names of checks to the worker and their results back: `await check('name')`.

const worker = new Worker('/onnx/worker.js', { type: 'module' });
const waiting = new Map();
let last = 0;

worker.onmessage = ({ data: { id, result, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  error ? reject(new Error(error)) : resolve(result);
};
worker.onerror = (event) => {
  for (const { reject } of waiting.values()) reject(new Error(event.message || 'the worker could not be loaded'));
};

globalThis.check = (name) =>
  new Promise((resolve, reject) => {
    waiting.set(++last, { resolve, reject });
    worker.postMessage({ id: last, name });
  });
