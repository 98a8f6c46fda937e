// Elements without markup strings: what comes from documents is always text, never HTML.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element with properties and children. `on` holds listeners, `data` dataset entries; names with a dash, and `role`,
 * are set as attributes; everything else as a property. null, undefined and false children are left out.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {Record<string, any>} [props] @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props))
    if (value !== undefined && value !== null) set(element, name, value);
  append(element, children);
  return element;
}

/** @param {any} element @param {string} name @param {any} value */
function set(element, name, value) {
  if (name === 'on') for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
  else if (name === 'data') Object.assign(element.dataset, value);
  else if (name === 'class') element.className = value;
  else if (name.includes('-') || name === 'role' || name === 'part') element.setAttribute(name, value);
  else element[name] = value;
}

/** @param {Node} parent @param {Array<Child | Child[]>} children */
export function append(parent, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replace all children. @param {Element | ShadowRoot} parent @param {...(Child | Child[])} children */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/** An element of the page that must be there. @param {string} selector @returns {any} */
export function $(selector) {
  const element = document.querySelector(selector);
  if (!element) throw new Error(`The page has no ${selector}.`);
  return element;
}

/** Give the person a file. @param {File} file */
export function download(file) {
  const href = URL.createObjectURL(file);
  const link = h('a', { href, download: file.name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser may still be reading it
}

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element of a drawing. @param {string} tag @param {Record<string, string | number>} [attributes]
 * @param {...(Child | Child[])} children @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  append(element, children);
  return element;
}

/** Line icons on a 24 x 24 grid, drawn for this project. */
const ICONS = {
  arrow: 'M5 12h14M13 6l6 6-6 6',
  bench: 'M4 7h16M6 7v12M18 7v12M6 13h12M9 7V4h6v3',
  book: 'M5 4h9a4 4 0 0 1 4 4v12H8a3 3 0 0 1-3-3zM5 17a3 3 0 0 1 3-3h10',
  clock: 'M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v4l3 2',
  close: 'M6 6l12 12M18 6L6 18',
  code: 'M9 7l-5 5 5 5M15 7l5 5-5 5',
  dial: 'M4 17a8 8 0 1 1 16 0M12 17l4-5M12 17h.01',
  down: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  file: 'M7 3h7l4 4v14H7zM14 3v4h4',
  filter: 'M4 6h16M7 12h10M10 18h4',
  folder: 'M3 7a2 2 0 0 1 2-2h4l2 2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z',
  help: 'M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5v.5M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18z',
  layers: 'M12 4l8 4-8 4-8-4zM4 12l8 4 8-4M4 16l8 4 8-4',
  left: 'M15 5l-7 7 7 7',
  lock: 'M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3',
  map: 'M9 4L4 6v14l5-2 6 2 5-2V4l-5 2zM9 4v14M15 6v14',
  minus: 'M5 12h14',
  moon: 'M19 14a8 8 0 1 1-9-10 6.5 6.5 0 0 0 9 10z',
  plus: 'M12 5v14M5 12h14',
  right: 'M9 5l7 7-7 7',
  shade: 'M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 3v18M12 7h4.500M12 11h7M12 15h6',
  server: 'M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01',
  stop: 'M7 7h10v10H7z',
  sun: 'M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M19 5l-1.5 1.5M6.500 17.5L5 19',
  table: 'M4 5h16v14H4zM4 10h16M10 5v14',
  trash: 'M5 7h14M10 4h4M7 7l1 13h8l1-13',
  whole: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  up: 'M12 20V9M7 13l5-5 5 5M5 4h14',
};

/** @param {keyof typeof ICONS} name @returns {SVGSVGElement} */
export function icon(name) {
  const drawing = svg(
    'svg',
    { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' },
    svg('path', { d: ICONS[name] }),
  );
  return /** @type {SVGSVGElement} */ (drawing);
}

/** The icon for a document type. @param {string} type @returns {SVGSVGElement} */
export const typeIcon = (type) =>
  icon(type === 'code' ? 'code' : type === 'pdf' ? 'book' : type === 'csv' || type === 'jsonl' ? 'table' : 'file');
