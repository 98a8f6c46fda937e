// Starts the engine before the page's own script is there; lib/tab.js takes it over. Only on later visits: on the first
// one the service worker has to take charge before the engine makes its requests (app/network.js).

if (navigator.serviceWorker?.controller) {
  const url = new URL('./worker.js', document.baseURI).href;
  const worker = new Worker(url, { type: 'module', name: 'inglenook' });
  /** @type {Array<MessageEvent | ErrorEvent>} what it said before somebody listened */
  const heard = [];
  const keep = (/** @type {any} */ event) => void heard.push(event);
  worker.onmessage = keep;
  worker.onmessageerror = keep;
  worker.onerror = keep;
  /** @type {any} */ (globalThis).inglenookEarly = { url, worker, heard };
}
