// Starts the engine before the page's own script is there; lib/tab.js takes it over. Only on later visits: on the first
// one the service worker has to take charge before the engine makes its requests (app/network.js).

if (navigator.serviceWorker?.controller) {
  const url = new URL('./worker.js', document.baseURI).href;
  const worker = new Worker(url, { type: 'module', name: 'inglenook' });
  /** @type {ErrorEvent[]} what went wrong before somebody listened */
  const failed = [];
  worker.onerror = (event) => void failed.push(event);
  /** @type {any} */ (globalThis).inglenookEarly = { url, worker, failed };
}
