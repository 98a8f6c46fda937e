// Workers from any origin: a page may embed Inglenook from another site, where `new Worker(url)` is refused.

/**
 * A module worker of this release. From another origin it starts through a `blob:` module that imports it, which needs
 * `worker-src blob:` and this site's origin in that page's CSP, and CORS on the site that serves Inglenook.
 *
 * @param {URL} url @param {string} name @param {typeof globalThis} [owner] the window whose it is, if it is not this one's
 */
export function spawn(url, name, owner = globalThis) {
  if (url.origin === self.location.origin) return new owner.Worker(url, { type: 'module', name });
  const source = new Blob([`import ${JSON.stringify(url.href)};`], { type: 'text/javascript' });
  const blob = URL.createObjectURL(source);
  const worker = new owner.Worker(blob, { type: 'module', name });
  const release = () => URL.revokeObjectURL(blob);
  worker.addEventListener('message', release, { once: true });
  worker.addEventListener('error', release, { once: true });
  return worker;
}
