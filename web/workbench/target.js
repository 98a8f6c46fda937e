// What is asked: this tab's model, or with consent a server.

import { fill, h } from '../lib/dom.js';
import { forbidden } from './served.js';

let names = 0;

/** The choice of a target. `onchange` hears when it may be used, or may not any more. */
export class Target {
  onchange = () => {};
  #where = 'tab';
  #about = h('div', { class: 'bench-server' });
  #level = h('select', { 'aria-label': 'Part of the model' });
  #url = h('input', { type: 'url', placeholder: `${location.origin}/v1`, autocomplete: 'off', spellcheck: false });
  #model = h('input', { type: 'text', autocomplete: 'off', spellcheck: false });
  #key = h('input', { type: 'password', autocomplete: 'off' });
  #agree = h('input', { type: 'checkbox' });
  #why = h('p', { class: 'warning', role: 'status', hidden: true });

  /** @param {string} what goes to the server, in words @param {string} [legend] */
  constructor(what, legend = 'Who answers') {
    const name = `target-${++names}`;
    const radio = (/** @type {string} */ value, /** @type {string} */ label) =>
      h(
        'label',
        { class: 'tick' },
        h('input', {
          type: 'radio',
          name,
          value,
          checked: value === this.#where,
          on: { change: () => this.#choose(value) },
        }),
        label,
      );
    const field = (/** @type {string} */ label, /** @type {HTMLElement} */ input) =>
      h('label', { class: 'field' }, label, input);
    this.server = [
      h(
        'div',
        { class: 'fields' },
        field('Address', this.#url),
        field('Its model', this.#model),
        field('Key', this.#key),
      ),
      h('label', { class: 'tick' }, this.#agree, `I agree that ${what} go there`),
      this.#why,
    ];
    this.element = h(
      'fieldset',
      { class: 'bench-target' },
      h('legend', {}, legend),
      h(
        'div',
        { class: 'pair' },
        radio('tab', 'This tab'),
        this.#level,
        radio('server', 'A server (OpenAI’s chat completions)'),
      ),
      this.#about,
    );
    this.#level.hidden = true;
    for (const input of [this.#url, this.#agree]) input.addEventListener('input', () => this.#see());
  }

  /** The parts of this tab's model. @param {Array<{ ratio: number }>} levels */
  levels(levels) {
    const part = (/** @type {number} */ ratio) =>
      ratio < 1 ? `${Math.round(100 * ratio)} % of the model` : 'the whole model';
    fill(this.#level, ...levels.map(({ ratio }, level) => h('option', { value: String(level) }, part(ratio))));
    this.#level.hidden = levels.length < 2 || this.#where !== 'tab';
  }

  /** Whether it may be asked. */
  get ready() {
    return this.#where === 'tab' || (this.#agree.checked && Boolean(this.#url.value) && !forbidden(this.#url.value));
  }

  /** What a job is told of it; its key is not kept with the run (`secret`). */
  get told() {
    if (this.#where === 'tab') return this.#level.length > 1 ? { level: Number(this.#level.value) } : {};
    return { url: this.#url.value.trim(), model: this.#model.value.trim() };
  }

  /** @param {any} told of a run @returns {{ key?: string }} */
  secret(told) {
    return told.url && this.#key.value ? { key: this.#key.value } : {};
  }

  /** @param {string} where */
  #choose(where) {
    this.#where = where;
    this.#level.hidden = where !== 'tab' || this.#level.length < 2;
    fill(this.#about, where === 'server' && this.server);
    this.#see();
  }

  #see() {
    const why = this.#where === 'server' && this.#url.value ? forbidden(this.#url.value) : '';
    this.#why.hidden = !why;
    this.#why.textContent = why;
    this.onchange();
  }
}
