// A passage that was found, drawn the same in the page and in the widget.

import { h, typeIcon } from '../lib/dom.js';
import { date } from '../lib/format.js';
import { excerpt, marked } from '../lib/text.js';

/** @typedef {import('../wire.gen.js').Hit} Hit */

/**
 * Where a passage leads: a real address, and what a plain click does instead of going there.
 * @typedef {object} Leads
 * @property {(hit: Hit, start: number, end: number) => string} href
 * @property {(hit: Hit, start: number, end: number, event: MouseEvent) => void} open
 */

/** Where in the file a passage stands; the title is not said twice. @param {Hit} hit */
export function place({ page, heading, title }) {
  const under = heading === title ? '' : heading.startsWith(`${title} › `) ? heading.slice(title.length + 3) : heading;
  return [page ? `page ${page}` : '', under].filter(Boolean).join(' · ');
}

/** @param {Leads} leads @param {Hit} hit @param {number} start @param {number} end @param {Record<string, any>} props */
export function sourceLink(leads, hit, start, end, props, /** @type {any[]} */ ...children) {
  const click = (/** @type {MouseEvent} */ event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return; // a new tab, as for any link
    leads.open(hit, start, end, event);
  };
  return h('a', { href: leads.href(hit, start, end), on: { click }, ...props }, ...children);
}

/**
 * @param {Hit} hit @param {Leads} leads
 * @param {{ added?: number, title?: 'h3' | 'p', scored?: boolean }} [extra] `scored`: with what the score is made of
 * @returns {HTMLElement}
 */
export function hitCard(hit, leads, { added, title: tag = 'h3', scored = false } = {}) {
  const cut = excerpt(hit.text, hit.marks, hit.start);
  const text = [cut.before && '… ', marked(cut.text, hit.marks, cut.offset), cut.after && ' …'];
  const title = sourceLink(
    leads,
    hit,
    hit.start,
    hit.end,
    { class: 'hit-title' },
    typeIcon(hit.type),
    hit.title || hit.path,
  );
  const where = [hit.title && hit.title !== hit.path ? hit.path : '', place(hit), added ? date(added) : ''];
  return h(
    'article',
    { class: 'hit', part: 'hit' },
    h(tag, { class: 'hit-head' }, title),
    h('p', { class: 'hit-where' }, where.filter(Boolean).join(' · ')),
    h('p', { class: hit.type === 'code' ? 'hit-text code' : 'hit-text', dir: 'auto' }, text),
    scored && scores(hit),
  );
}

/** What the score is made of. @param {Hit} hit */
function scores(hit) {
  const part = (
    /** @type {string} */ name,
    /** @type {number | null} */ value,
    /** @type {number} */ digits,
    /** @type {string} */ title,
  ) =>
    h('span', { title }, `${name} `, h('b', {}, value === null || value === undefined ? '–' : value.toFixed(digits)));
  return h(
    'p',
    { class: 'hit-scores' },
    part('fused', hit.score, 4, 'Reciprocal rank fusion of words and meaning'),
    part('words', hit.lexical, 2, 'BM25: how well the words match'),
    part('meaning', hit.vector, 3, 'Cosine between question and passage'),
  );
}
