// A search box as the ARIA Authoring Practices describe it: combobox with a listbox of passages.

import { fill, h, icon } from '../lib/dom.js';
import { latest } from '../lib/latest.js';
import { excerpt, marked } from '../lib/text.js';
import { place } from './hits.js';

/** @typedef {import('../wire.gen.js').Hit} Hit */

/**
 * @typedef {object} Wishes
 * @property {string} label
 * @property {string} placeholder
 * @property {(query: string) => Promise<Hit[]>} search
 * @property {(hit: Hit, event: UIEvent) => void} pick
 * @property {(query: string) => void} [submit] Enter with nothing chosen
 * @property {(error: unknown) => void} fail
 */

let serial = 0;

/** Input and list; the owner places `element`. */
export class Combo {
  /** @type {Hit[]} */ #hits = [];
  #active = -1;
  /** passages that come after a question was sent are not shown over its answer */
  #sent = false;
  #wishes;
  #id = `ingle-${++serial}`;

  /** @param {Wishes} wishes */
  constructor(wishes) {
    this.#wishes = wishes;
    this.list = h('ul', {
      id: `${this.#id}-list`,
      class: 'options',
      part: 'list',
      role: 'listbox',
      'aria-label': 'Passages',
      hidden: true,
    });
    this.input = h('input', {
      type: 'search',
      part: 'input',
      role: 'combobox',
      autocomplete: 'off',
      spellcheck: false,
      placeholder: wishes.placeholder,
      enterKeyHint: wishes.submit ? 'go' : 'search',
      'aria-label': wishes.label,
      'aria-autocomplete': 'list',
      'aria-expanded': 'false',
      'aria-controls': this.list.id,
      on: {
        input: () => this.#typed(),
        keydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
        blur: () => this.close(),
      },
    });
    this.news = h('span', { class: 'unseen', role: 'status' });
    this.element = h(
      'div',
      { class: 'combo' },
      h('span', { class: 'lens' }, icon('book')),
      this.input,
      this.list,
      this.news,
    );
    this.#find = latest(
      (/** @type {string} */ query) => (query.trim() ? wishes.search(query) : Promise.resolve([])),
      (hits) => this.#show(hits),
      wishes.fail,
    );
  }

  #find;

  get value() {
    return this.input.value;
  }

  close() {
    this.list.hidden = true;
    this.#active = -1;
    this.input.setAttribute('aria-expanded', 'false');
    this.input.removeAttribute('aria-activedescendant');
  }

  #typed() {
    this.#sent = false;
    this.#find(this.input.value);
  }

  /** @param {Hit[]} hits */
  #show(hits) {
    this.#hits = hits;
    this.#active = -1;
    this.input.removeAttribute('aria-activedescendant');
    const open = !this.#sent && hits.length > 0 && this.input.matches(':focus');
    fill(
      this.list,
      hits.map((hit, i) => this.#option(hit, i)),
    );
    this.list.hidden = !open;
    this.input.setAttribute('aria-expanded', String(open));
    this.news.textContent = this.input.value.trim() ? `${hits.length || 'No'} passages` : '';
  }

  /** @param {Hit} hit @param {number} i */
  #option(hit, i) {
    const cut = excerpt(hit.text, hit.marks, hit.start, 140);
    const where = place(hit);
    return h(
      'li',
      {
        id: `${this.#id}-${i}`,
        role: 'option',
        part: 'option',
        'aria-selected': 'false',
        on: {
          pointerdown: (/** @type {Event} */ event) => event.preventDefault(), // keeps the focus in the input
          click: (/** @type {MouseEvent} */ event) => this.#pick(i, event),
        },
      },
      h('span', { class: 'option-title' }, hit.title || hit.path, where && h('small', {}, where)),
      h(
        'span',
        { class: 'option-text', dir: 'auto' },
        cut.before && '… ',
        marked(cut.text, hit.marks, cut.offset),
        cut.after && ' …',
      ),
    );
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { key } = event;
    if (event.isComposing) return;
    if (key === 'ArrowDown' || key === 'ArrowUp') {
      if (this.list.hidden) return this.#typed();
      event.preventDefault();
      this.#move(key === 'ArrowDown' ? 1 : -1);
    } else if (key === 'Enter') {
      event.preventDefault();
      if (this.#active >= 0) this.#pick(this.#active, event);
      else if (this.#wishes.submit && this.input.value.trim()) {
        this.close();
        this.#sent = true;
        this.#wishes.submit(this.input.value.trim());
      }
    } else if (key === 'Escape' && !this.list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      this.close();
    }
  }

  /** @param {number} by */
  #move(by) {
    const n = this.#hits.length;
    const options = this.list.children;
    options[this.#active]?.setAttribute('aria-selected', 'false');
    this.#active = this.#active < 0 ? (by > 0 ? 0 : n - 1) : (this.#active + by + n) % n;
    const option = options[this.#active];
    option.setAttribute('aria-selected', 'true');
    option.scrollIntoView({ block: 'nearest' });
    this.input.setAttribute('aria-activedescendant', option.id);
  }

  /** @param {number} i @param {UIEvent} event */
  #pick(i, event) {
    const hit = this.#hits[i];
    this.close();
    this.#wishes.pick(hit, event);
  }
}
