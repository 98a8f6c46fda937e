// Elements on one page that read the same library share one engine, started when a reader first reaches for one.

import { open } from '../inglenook.js';

/** @typedef {import('../inglenook.js').Nook} Nook */
/** @typedef {import('../inglenook.js').OnProgress} OnProgress */

/** @type {Map<string, { nook: Promise<Nook>, ears: Set<OnProgress>, users: Set<HTMLElement> }>} */
const shared = new Map();

/** Which library an element reads. @param {HTMLElement} element */
function wanted(element) {
  const src = element.getAttribute('src');
  const address = src ? new URL(src, document.baseURI) : undefined;
  const name = element.getAttribute('name') ?? (address ? `site ${address.origin}${address.pathname}` : 'notes');
  const network = element.getAttribute('network') === 'off' ? 'off' : 'on';
  return {
    name,
    src: address,
    base: element.getAttribute('base') ?? undefined,
    network: /** @type {'on' | 'off'} */ (network),
  };
}

/** @param {HTMLElement} element @param {OnProgress} onProgress @returns {Promise<Nook>} */
export function nookFor(element, onProgress) {
  const { name, ...options } = wanted(element);
  const key = JSON.stringify([name, options]);
  let entry = shared.get(key);
  if (!entry) {
    /** @type {Set<OnProgress>} */
    const ears = new Set();
    const tell = (/** @type {any} */ event) => {
      for (const ear of ears) ear(event);
    };
    const nook = open(name, { ...options, onProgress: tell });
    nook.then((ready) => ready.prepare('encoder')).catch(() => {}); // words serve until meaning is there
    nook.catch(() => shared.delete(key)); // the next try starts afresh
    entry = { nook, ears, users: new Set() };
    shared.set(key, entry);
  }
  entry.users.add(element);
  entry.ears.add(onProgress);
  return entry.nook.finally(() => entry.ears.delete(onProgress));
}

/** An element left the page: the engine goes with its last user. @param {HTMLElement} element */
export function leave(element) {
  for (const [key, { nook, users }] of shared) {
    if (!users.delete(element) || users.size) continue;
    shared.delete(key);
    nook.then((gone) => gone.dispose()).catch(() => {});
  }
}

/** A latency as it is written in an attribute: "first=300ms,token=40ms". @param {string | null} text */
export function slo(text) {
  /** @type {Record<string, number>} */
  const wish = {};
  for (const [, key, value, unit] of (text ?? '').matchAll(/(first|token)\s*=\s*([\d.]+)\s*(ms|s)?/g)) {
    wish[key] = Number(value) * (unit === 's' ? 1000 : 1);
  }
  return wish;
}

/**
 * The address of a passage on the site: `link` is a pattern such as "/docs/{path}"; the browser highlights the words.
 * @param {string} link @param {string} path @param {string} text
 */
export function address(link, path, text) {
  const words = text.trim().split(/\s+/).slice(0, 8).join(' ');
  const filled = link.replaceAll('{path}', path.split('/').map(encodeURIComponent).join('/'));
  const url = new URL(filled, document.baseURI);
  if (!/^https?:$/.test(url.protocol)) return '#';
  return `${url.href}${url.hash ? '' : '#'}:~:text=${encodeURIComponent(words).replaceAll('-', '%2D')}`;
}
