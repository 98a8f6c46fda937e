// Workers from any origin: a page may embed Inglenook from another site, where `new Worker(url)` is refused.

/**
 * A module worker of this release. From another origin it starts through a `blob:` module that imports it, which needs
 * `worker-src blob:` and this site's origin in that page's CSP, and CORS on the site that serves Inglenook.
 *
 * @param {URL} url @param {string} name
 */
export function spawn(url, name) {
  if (url.origin === self.location.origin) return new Worker(url, { type: 'module', name });
  const source = new Blob([`import ${JSON.stringify(url.href)};`], { type: 'text/javascript' });
  const blob = URL.createObjectURL(source);
  const worker = new Worker(blob, { type: 'module', name });
  const release = () => URL.revokeObjectURL(blob);
  worker.addEventListener('message', release, { once: true });
  worker.addEventListener('error', release, { once: true });
  return worker;
}
