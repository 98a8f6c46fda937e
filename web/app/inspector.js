// The chunk inspector: where a document was cut, and how each passage scores for the question.

import { fill, h } from '../lib/dom.js';
import { count } from '../lib/format.js';
import { units } from '../lib/text.js';
import { sheet } from './sheet.js';

/** @typedef {import('../wire.gen.js').Hit} Hit */

/** A path as a glob pattern that matches only itself. @param {string} path */
const literal = (path) => path.replace(/[*?[]/g, '[$&]');

/**
 * @param {import('./room.js').Room} room @param {string} id @param {string} query
 * @param {(start: number, end: number) => void} show
 */
export async function inspector(room, id, query, show) {
  const doc = await room.nook.inspect(id);
  const card = room.cards.find((one) => one.document === id);
  /** @type {Map<number, Hit>} */
  const found = new Map();
  if (query) {
    const filter = { paths: [literal(doc.path)], collections: card ? [card.collection] : [] };
    const { hits } = await room.nook.search(query, { k: Math.max(doc.chunks.length, 1), filter });
    for (const hit of hits) found.set(hit.chunk, hit);
  }
  const at = units(doc.text);
  const best = Math.max(...[...found.values()].map((hit) => hit.score), 0);
  const rows = doc.chunks.map((chunk, i) => {
    const hit = found.get(i);
    const facts = [
      `${chunk.start}–${chunk.end}`,
      chunk.page && `page ${chunk.page}`,
      chunk.kind !== 'text' && chunk.kind,
      chunk.heading,
    ];
    const open = h(
      'button',
      {
        type: 'button',
        class: 'small',
        on: {
          click: () => {
            dialog.close();
            show(chunk.start, chunk.end);
          },
        },
      },
      'Open',
    );
    const meter = h('meter', { min: 0, max: best || 1, value: hit?.score ?? 0, 'aria-label': 'Score' });
    return h(
      'li',
      { class: hit && hit.score === best ? 'chunk best' : 'chunk' },
      h('p', { class: 'chunk-facts' }, h('b', {}, `#${i + 1}`), h('span', {}, facts.filter(Boolean).join(' · ')), open),
      query && h('p', { class: 'chunk-score' }, meter, hit ? numbers(hit) : 'not found by this question'),
      h('p', { class: 'chunk-text', dir: 'auto' }, doc.text.slice(at(chunk.start), at(chunk.end))),
    );
  });
  const told = [count(doc.chunks.length, 'passage'), card && `${card.vectors} with meaning`, doc.language, card?.type];
  const list = h('ol', { class: 'chunks' });
  fill(list, rows);
  const dialog = sheet(
    doc.title || doc.path,
    h('p', { class: 'lede' }, told.filter(Boolean).join(' · ')),
    query
      ? h('p', { class: 'lede' }, 'Scores are for: ', h('q', {}, query.slice(0, 120)))
      : h('p', { class: 'lede' }, 'Type a question first, and each passage shows its score.'),
    doc.warnings.length
      ? h(
          'ul',
          {},
          doc.warnings.map((warning) => h('li', {}, warning)),
        )
      : null,
    list,
  );
}

/** @param {Hit} hit */
function numbers(hit) {
  const shown = (/** @type {number | null} */ value, /** @type {number} */ digits) =>
    value === null ? '–' : value.toFixed(digits);
  return `fused ${shown(hit.score, 4)} · words ${shown(hit.lexical, 2)} · meaning ${shown(hit.vector, 3)}`;
}
