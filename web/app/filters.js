// What searches are limited to: type, date, names; and how they are made.

import { fill, h, icon } from '../lib/dom.js';
import { settings } from './settings.js';

const TYPES = ['pdf', 'markdown', 'html', 'text', 'code', 'docx', 'csv', 'jsonl'];

export class Filters {
  /** @param {HTMLElement} element @param {import('./room.js').Room} room */
  constructor(element, room) {
    this.element = element;
    this.room = room;
    this.button = h('button', {
      type: 'button',
      class: 'small',
      'aria-expanded': 'false',
      'aria-controls': element.id,
      on: { click: () => this.toggle() },
    });
    room.addEventListener('filter', () => this.#face());
    this.#face();
    this.#build();
  }

  toggle() {
    this.element.hidden = !this.element.hidden;
    this.button.setAttribute('aria-expanded', String(!this.element.hidden));
  }

  #face() {
    const n = Object.keys(this.room.filter).length;
    fill(this.button, icon('filter'), n ? `Filters (${n})` : 'Filters');
  }

  #build() {
    const types = TYPES.map((type) =>
      h('label', { class: 'tick' }, h('input', { type: 'checkbox', name: 'type', value: type }), type),
    );
    const day = (/** @type {string} */ name, /** @type {string} */ label) =>
      h('label', { class: 'field' }, label, h('input', { type: 'date', name }));
    const choice = (
      /** @type {string} */ label,
      /** @type {Array<[string, string]>} */ options,
      /** @type {string} */ value,
      /** @type {(value: any) => void} */ set,
    ) => {
      const select = h('select', {
        on: {
          change: () => {
            set(select.value);
            this.room.limit(this.room.collection, this.room.filter);
          },
        },
      });
      fill(
        select,
        options.map(([key, text]) => h('option', { value: key, selected: key === value }, text)),
      );
      return h('label', { class: 'field' }, label, select);
    };
    const form = h(
      'form',
      {
        class: 'filter-form',
        on: {
          input: () => this.#read(form),
          submit: (/** @type {Event} */ event) => event.preventDefault(),
          reset: () => this.room.limit('', {}),
        },
      },
      h('fieldset', {}, h('legend', {}, 'Types'), types),
      h(
        'div',
        { class: 'fields' },
        day('after', 'Changed after'),
        day('before', 'Changed before'),
        h(
          'label',
          { class: 'field' },
          'File names',
          h('input', { name: 'path', placeholder: 'reports/*.pdf', spellcheck: false }),
        ),
        choice(
          'Search by',
          [
            ['hybrid', 'words and meaning'],
            ['lexical', 'words'],
            ['vector', 'meaning'],
          ],
          settings.mode,
          (mode) => settings.set({ mode }),
        ),
      ),
      h('button', { type: 'reset', class: 'small' }, 'Clear filters'),
    );
    fill(this.element, form);
  }

  /** @param {HTMLFormElement} form */
  #read(form) {
    const data = new FormData(form);
    const types = data.getAll('type').map(String);
    const path = String(data.get('path') ?? '').trim();
    const after = Date.parse(`${data.get('after')}T00:00`) / 1000;
    const before = Date.parse(`${data.get('before')}T23:59:59`) / 1000;
    this.room.limit(this.room.collection, {
      ...(types.length && { types }),
      ...(path && { paths: [path] }),
      ...(after && { after }),
      ...(before && { before }),
    });
  }
}
