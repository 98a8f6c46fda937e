// Offsets and marks. The engine counts characters (code points), JavaScript strings count UTF-16 units: the two differ
// after the first emoji, so every offset that comes from the engine passes through here.

import { h } from './dom.js';

/** @typedef {import('../wire.gen.js').Span} Span */

const ASTRAL = /[\ud800-\udbff][\udc00-\udfff]/;

/**
 * A function from code point offsets to UTF-16 offsets of `text`. Ask for rising offsets: it walks once.
 * @param {string} text @returns {(points: number) => number}
 */
export function units(text) {
  if (!ASTRAL.test(text)) return (points) => Math.min(Math.max(points, 0), text.length);
  let point = 0;
  let unit = 0;
  return (points) => {
    if (points < point) point = unit = 0;
    for (; point < points && unit < text.length; point++)
      unit += /** @type {number} */ (text.codePointAt(unit)) > 0xffff ? 2 : 1;
    return unit;
  };
}

/** How many characters the engine counts in `text`. @param {string} text */
export function length(text) {
  return ASTRAL.test(text) ? [...text].length : text.length;
}

/**
 * `text` as nodes, with `spans` (in the document's characters, `text` starting at `offset`) inside <mark>.
 * @param {string} text @param {readonly Span[]} spans @param {number} [offset] @param {string} [className]
 * @returns {DocumentFragment}
 */
export function marked(text, spans, offset = 0, className = '') {
  const fragment = document.createDocumentFragment();
  const at = units(text);
  let done = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const start = Math.max(at(span.start - offset), done);
    const end = at(span.end - offset);
    if (end <= start) continue;
    fragment.append(text.slice(done, start), h('mark', { class: className }, text.slice(start, end)));
    done = end;
  }
  fragment.append(text.slice(done));
  return fragment;
}

/**
 * The part of a passage worth showing first: around its first mark, cut at words.
 * @param {string} text @param {readonly Span[]} marks @param {number} offset @param {number} [width] characters
 * @returns {{ text: string, offset: number, before: boolean, after: boolean }}
 */
export function excerpt(text, marks, offset, width = 320) {
  const total = length(text);
  if (total <= width) return { text, offset, before: false, after: false };
  const first = Math.min(...marks.map((mark) => mark.start - offset), total);
  let start = first === total ? 0 : Math.max(0, Math.min(first - width / 4, total - width)) | 0;
  const at = units(text);
  let from = at(start);
  if (start > 0) {
    const space = text.slice(from, from + 24).search(/\s/);
    if (space >= 0) {
      start += length(text.slice(from, from + space + 1));
      from += space + 1;
    }
  }
  let to = at(start + width);
  const space = to < text.length ? text.slice(Math.max(from, to - 24), to).search(/\s\S*$/) : -1;
  if (space >= 0) to = Math.max(from, to - 24) + space;
  return { text: text.slice(from, to), offset: offset + start, before: start > 0, after: to < text.length };
}

/**
 * Where the last whole sentence of a growing text ends (0: none yet). @param {string} text
 */
export function sentences(text) {
  const match = /^[\s\S]*[.!?…。！？؟।](?=["'”’)\]]*\s)["'”’)\]]*/u.exec(text);
  return match ? match[0].length : 0;
}
