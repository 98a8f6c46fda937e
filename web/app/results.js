// The passages that were found, best first; arrow keys walk them.

import { hitCard } from '../elements/hits.js';
import { fill, h } from '../lib/dom.js';
import { count, time } from '../lib/format.js';
import { settings } from './settings.js';

/** @typedef {import('../wire.gen.js').Hit} Hit */

const ARMS = /** @type {Record<string, string>} */ ({ lexical: 'words', vector: 'meaning', hash: 'word shapes' });

export class Results {
  /** @type {{ found: import('../wire.gen.js').HitsMessage, query: string } | undefined} what is shown */ #last;
  /** @type {Map<string, HTMLElement>} the passages shown, by all that is drawn of them */ #drawn = new Map();
  /** @type {import('../wire.gen.js').Card[]} */ #cards = [];
  /** @type {Map<string, number>} when each document of #cards was changed */ #dates = new Map();

  /**
   * @param {HTMLElement} element @param {import('./room.js').Room} room @param {import('../elements/hits.js').Leads} leads
   * @param {() => void} back focus goes back to the question
   */
  constructor(element, room, leads, back) {
    this.element = element;
    this.room = room;
    this.leads = leads;
    this.list = h('ol', {
      class: 'hits',
      on: { keydown: (/** @type {KeyboardEvent} */ event) => this.#key(event, back) },
    });
    this.title = h('h2', {});
    this.facts = h('span', { class: 'facts' });
    this.toggle = h(
      'button',
      { type: 'button', class: 'small', 'aria-pressed': String(settings.scores), on: { click: () => this.#scores() } },
      'Scores',
    );
    this.news = h('p', { class: 'unseen', role: 'status' });
    fill(element, h('header', {}, this.title, this.facts, this.toggle), this.list, this.news);
  }

  #scores() {
    settings.set({ scores: !settings.scores });
    this.toggle.setAttribute('aria-pressed', String(settings.scores));
    if (this.#last) this.show(this.#last.found, this.#last.query);
  }

  /** @param {import('../wire.gen.js').HitsMessage} found @param {string} query */
  show(found, query) {
    const { hits, ms, arms } = found;
    this.#last = { found, query };
    this.room.shown(query, { ms, embed_ms: found.embed_ms });
    this.element.hidden = false;
    this.title.textContent = hits.length ? count(hits.length, 'passage') : 'No passages';
    const by = arms.map((arm) => ARMS[arm] ?? arm).join(' and ');
    this.facts.textContent = [by && `by ${by}`, time(ms)].filter(Boolean).join(', ');
    this.news.textContent = `${this.title.textContent} for ${query.slice(0, 80)}`;
    this.toggle.hidden = !hits.length;
    this.#draw(hits);
    if (!hits.length) fill(this.list, h('li', { class: 'empty' }, this.#none()));
  }

  /** From one key to the next the passages hardly change: what stands there as it should be stays. @param {Hit[]} hits */
  #draw(hits) {
    if (this.#cards !== this.room.cards) {
      this.#cards = this.room.cards;
      this.#dates = new Map(this.#cards.map((card) => [card.document, card.modified]));
    }
    const drawn = new Map();
    for (const hit of hits) {
      const { score, lexical, vector, ...rest } = hit;
      const added = this.#dates.get(hit.document);
      const key = JSON.stringify([rest, added, settings.scores && [score, lexical, vector]]);
      const before = this.#drawn.get(key);
      drawn.set(key, before ?? h('li', {}, hitCard(hit, this.leads, { added, scored: settings.scores })));
    }
    this.#drawn = drawn;
    const items = [...drawn.values()];
    const { children } = this.list;
    for (const [i, item] of items.entries())
      if (children[i] !== item) this.list.insertBefore(item, children[i] ?? null);
    while (children.length > items.length) this.list.lastElementChild?.remove();
  }

  #none() {
    if (!this.room.cards.length) return 'Your library is empty. Drop files anywhere on this page to begin.';
    const limited = this.room.collection || Object.keys(this.room.filter).length;
    return limited
      ? 'Nothing within these filters. Widen or clear them.'
      : 'Try other words: search knows words and their meaning.';
  }

  hide() {
    this.element.hidden = true;
    if (this.#last) this.room.shown('');
    this.#last = undefined;
    this.#draw([]);
  }

  /** @param {number} index @returns {boolean} whether there is such a passage */
  focus(index) {
    /** @type {NodeListOf<HTMLElement>} */
    const links = this.list.querySelectorAll('.hit-title');
    links[index]?.focus();
    return index in links;
  }

  /** @param {KeyboardEvent} event @param {() => void} back */
  #key(event, back) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const links = [...this.list.querySelectorAll('.hit-title')];
    const at = links.indexOf(/** @type {Element} */ (document.activeElement)) + step;
    event.preventDefault();
    if (at < 0) back();
    else this.focus(Math.min(at, links.length - 1));
  }
}
