// An earlier prompt, to hold the one in the editor against: a release, of a run that was done, or of a file.

import { fill, h, icon } from '../lib/dom.js';
import { pick } from './tables.js';

/** What it says where nothing is chosen. */
const NONE = 'choose one';

export class Earlier {
  /** @type {Map<string, string>} prompts that were opened, and their names */ #opened = new Map();
  #select = h('select', {});
  #none = NONE;

  /** @param {() => string[][]} known prompts and their names @param {() => void} onchange another was chosen */
  constructor(known, onchange) {
    this.known = known;
    this.onchange = onchange;
    this.#select.addEventListener('focus', () => this.offer());
    this.#select.addEventListener('change', onchange);
    this.element = h(
      'div',
      { class: 'pair' },
      h('label', { class: 'field' }, 'The earlier one', this.#select),
      h('button', { type: 'button', class: 'small', on: { click: () => this.#open() } }, icon('folder'), 'Open it'),
    );
    this.offer();
  }

  get() {
    return this.#select.value;
  }

  missing() {
    return this.#none === NONE && !this.#select.value;
  }

  /** That none need be chosen, and what it is then. @param {string} [none] */
  without(none = NONE) {
    this.#none = none;
    this.offer();
  }

  /** @param {string} text */
  choose(text) {
    this.offer();
    this.#select.value = text;
    this.onchange();
  }

  /** Offer what there is now. */
  offer() {
    const { value } = this.#select;
    /** @type {Map<string, string>} */
    const known = new Map(this.#opened);
    for (const [text, name] of this.known()) if (!known.has(text)) known.set(text, name);
    fill(
      this.#select,
      h('option', { value: '' }, known.size || this.#none !== NONE ? this.#none : 'open a file'),
      ...[...known].map(([text, name]) => h('option', { value: text, selected: text === value }, name)),
    );
  }

  async #open() {
    const [file] = await pick({ accept: '.prompt,.md,.txt' });
    if (!file) return;
    const text = await file.text();
    this.#opened.set(text, file.name);
    this.choose(text);
  }
}
