// The list beside the map, which says what the map shows: topics, and of the chosen one what it is about and its documents.

import { sourceLink } from '../elements/hits.js';
import { fill, h, icon } from '../lib/dom.js';
import { count } from '../lib/format.js';

/** @typedef {import('./atlas.js').Atlas} Atlas */

export class Legend {
  /** @type {Atlas | undefined} */ #atlas;

  /**
   * @param {import('../elements/hits.js').Leads} leads
   * @param {{ choose: (topic: number) => void, mark: (points: number[]) => void }} acts a topic, -1 for all; the points
   *   of the document that is looked at
   */
  constructor(leads, acts) {
    this.leads = leads;
    this.acts = acts;
    this.element = h('div', { class: 'map-side' });
  }

  /** @param {Atlas} atlas */
  show(atlas) {
    this.#atlas = atlas;
    this.topics();
  }

  /** All topics, the largest first. @param {number} [back] the one the focus goes back to */
  topics(back = -1) {
    const atlas = this.#atlas;
    if (!atlas) return;
    const thing = atlas.by === 'place' ? 'documents' : 'passages';
    const items = atlas.topics.map(({ points }, t) =>
      h(
        'li',
        {},
        h(
          'button',
          { type: 'button', class: 'map-topic', on: { click: () => this.acts.choose(t) } },
          swatch(atlas, t),
          h('span', {}, atlas.names[t].join(', ')),
          many(points, thing),
        ),
      ),
    );
    fill(
      this.element,
      h('h3', {}, atlas.by === 'place' ? 'Folders' : 'Topics'),
      items.length
        ? h('ol', { class: 'map-list' }, items)
        : h('p', { class: 'empty' }, 'Your library is empty. Drop files anywhere on this page to begin.'),
    );
    if (back >= 0) items[back]?.querySelector('button')?.focus();
  }

  /** One topic. @param {number} t */
  topic(t) {
    const atlas = this.#atlas;
    if (!atlas) return;
    const { points, quote } = atlas.topics[t];
    const documents = atlas.inside(t);
    const inside = count(documents.length, 'document');
    const back = h(
      'button',
      { type: 'button', class: 'small', on: { click: () => this.acts.choose(-1) } },
      icon('left'),
      atlas.by === 'place' ? 'All folders' : 'All topics',
    );
    const title = h('h3', { tabIndex: -1 }, atlas.names[t].join(', '));
    fill(
      this.element,
      back,
      h('div', { class: 'map-head' }, swatch(atlas, t), title),
      h('p', { class: 'fine' }, atlas.by === 'place' ? inside : `${count(points, 'passage')} in ${inside}`),
      quote && h('blockquote', { dir: 'auto' }, quote),
      h(
        'ul',
        { class: 'map-list' },
        documents.map((one) => h('li', {}, this.#document(atlas, one))),
      ),
    );
    title.focus({ preventScroll: true });
  }

  /** @param {Atlas} atlas @param {{ title: string, points: number[] }} document */
  #document(atlas, { title, points }) {
    const { document, start, end } = atlas.passage(points[0]);
    const hit = /** @type {import('../wire.gen.js').Hit} */ ({ document });
    const link = sourceLink(
      this.leads,
      hit,
      start,
      end,
      { class: 'map-topic' },
      h('span', {}, title),
      atlas.by === 'place' ? null : many(points.length, 'passages'),
    );
    for (const type of ['pointerenter', 'focus']) link.addEventListener(type, () => this.acts.mark(points));
    for (const type of ['pointerleave', 'blur']) link.addEventListener(type, () => this.acts.mark([]));
    return link;
  }
}

/** @param {Atlas} atlas @param {number} t */
const swatch = (atlas, t) => h('i', { class: `swatch topic-${atlas.colours[t]}` });

/** @param {number} n @param {string} things */
const many = (n, things) => h('small', {}, n.toLocaleString('en'), h('span', { class: 'unseen' }, ` ${things}`));
