// What the index of meaning is made of, what it holds, and what its searches cost: figures for people.

import { fill, h } from '../lib/dom.js';
import { count, size, time } from '../lib/format.js';

/** @typedef {import('../wire.gen.js').Index} Index */

/** Kinds of index, named for people. */
const KINDS = /** @type {Record<string, string>} */ ({
  flat: 'exact',
  ivf: 'lists',
  hnsw: 'graph',
  webanns: 'graph, loaded lazily',
  head: 'exact, as they came',
});

/**
 * @param {Element} list a `dl` @param {Index} index
 * @param {{ ms: number, embed_ms: number }} asked what the last search took
 */
export function figures(list, index, asked) {
  const number = (/** @type {number} */ n) => n.toLocaleString('en');
  const kinds = Object.entries(index.kinds).map(([kind, n]) => [KINDS[kind] ?? kind, n]);
  const pages = index.hits + index.misses;
  /** @type {Array<[string, string | Node]>} */
  const rows = [
    ['Vectors', `${number(index.vectors)} of ${index.dimensions} numbers`],
    [
      'Kind',
      kinds.map(([name, n]) => (kinds.length > 1 ? `${name} ${number(Number(n))}` : name)).join(', ') || 'none yet',
    ],
    ['Its size on disk', size(index.stored)],
    ['Its memory', index.budget ? `${size(index.memory)} of ${size(index.budget)}` : size(index.memory)],
    [
      'Found in memory',
      pages ? `${((100 * index.hits) / pages).toFixed(1)} % of ${count(pages, 'page')}` : 'everything',
    ],
    ['Reads of storage', reads(index)],
    ['Last search', asked.ms ? `${time(asked.ms)}, ${time(asked.embed_ms)} of it for what was typed` : 'none yet'],
  ];
  fill(
    list,
    rows.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
  );
}

/** @param {Index} index */
function reads({ queries, trips, trips_p99 }) {
  if (!queries) return 'none';
  return trips === trips_p99 ? `${trips} a search` : `${trips} a search, ${trips_p99} in the slowest 1 %`;
}
