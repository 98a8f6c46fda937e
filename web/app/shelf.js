// The documents, by collection: open, inspect, remove, and where new files go.

import { $, fill, h, icon, typeIcon } from '../lib/dom.js';
import { count, date, size } from '../lib/format.js';

/** @typedef {import('../wire.gen.js').Card} Card */

export class Shelf {
  #needle = '';
  shut = () => {};

  /**
   * @param {HTMLElement} element @param {import('./room.js').Room} room
   * @param {{ bring: import('./bring.js').Bring, toasts: import('./toast.js').Toasts, viewer: import('./viewer.js').Viewer }} parts
   */
  constructor(element, room, { bring, toasts, viewer }) {
    this.element = element;
    this.room = room;
    this.bring = bring;
    this.toasts = toasts;
    this.viewer = viewer;
    this.body = $('#shelf-body');
    this.drawer();
    this.find = h('input', {
      type: 'search',
      class: 'shelf-find',
      placeholder: 'Find a document',
      'aria-label': 'Find a document by name',
      on: {
        input: () => {
          this.#needle = this.find.value.toLowerCase();
          this.#list();
        },
      },
    });
    this.chips = h('div', { class: 'chips', role: 'group', 'aria-label': 'Collections' });
    this.list = h('div', { class: 'cards' });
    fill(this.body, this.chips, this.find, this.list);
    this.foot = $('#shelf-foot');
    room.addEventListener('cards', () => this.show());
    room.addEventListener('filter', () => this.show());
    this.show();
  }

  /** On narrow screens the shelf is a drawer. */
  drawer() {
    const opener = $('#shelf-open');
    const closer = $('#shelf-close');
    fill(opener, icon('book'), h('span', {}, 'Documents'));
    fill(closer, icon('close'));
    const set = (/** @type {boolean} */ open) => {
      document.body.classList.toggle('shelf-out', open);
      opener.setAttribute('aria-expanded', String(open));
      (open ? closer : opener).focus();
    };
    opener.addEventListener('click', () => set(true));
    closer.addEventListener('click', () => set(false));
    this.element.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && document.body.classList.contains('shelf-out')) set(false);
    });
    this.shut = () => {
      if (document.body.classList.contains('shelf-out')) set(false);
    };
  }

  show() {
    this.#chips();
    this.#list();
    const where = this.room.collection || 'notes';
    const add = (
      /** @type {Parameters<typeof icon>[0]} */ name,
      /** @type {string} */ label,
      /** @type {() => void} */ act,
    ) => h('button', { type: 'button', class: 'wide', on: { click: act } }, icon(name), label);
    fill(
      this.foot,
      h(
        'div',
        { class: 'pair' },
        add('plus', 'Add files', () => this.bring.files()),
        add('folder', 'Add folder', () => this.bring.folder()),
      ),
      h('p', {}, 'New files go to ', h('b', {}, where), '.'),
    );
  }

  #chips() {
    const groups = this.room.collections();
    const chip = (/** @type {string} */ label, /** @type {string} */ value, /** @type {number} */ n) =>
      h(
        'button',
        {
          type: 'button',
          class: 'chip',
          'aria-pressed': String(this.room.collection === value),
          on: { click: () => this.room.limit(value, this.room.filter) },
        },
        label,
        h('small', {}, String(n)),
      );
    const names = [...groups].map(([name, cards]) => chip(name, name, cards.length));
    if (this.room.collection && !groups.has(this.room.collection))
      names.push(chip(this.room.collection, this.room.collection, 0));
    fill(this.chips, chip('All', '', this.room.cards.length), names, this.#maker());
  }

  /** The chip that makes a collection: it exists once a file is in it. */
  #maker() {
    const plus = h(
      'button',
      { type: 'button', class: 'chip plus', title: 'New collection', 'aria-label': 'New collection' },
      icon('plus'),
    );
    plus.addEventListener('click', () => {
      const name = h('input', {
        class: 'chip-name',
        maxLength: 60,
        placeholder: 'Name',
        'aria-label': 'Name of the new collection',
      });
      const make = () => {
        if (name.value.trim()) this.room.limit(name.value.trim(), this.room.filter);
        else name.replaceWith(plus);
      };
      name.addEventListener('keydown', (event) => {
        if (event.key === 'Enter') make();
        if (event.key === 'Escape') {
          event.stopPropagation();
          name.replaceWith(plus);
          plus.focus();
        }
      });
      name.addEventListener('blur', () => name.isConnected && make());
      plus.replaceWith(name);
      name.focus();
    });
    return plus;
  }

  #list() {
    const { cards, collection } = this.room;
    this.find.hidden = cards.length < 8;
    const shown = cards.filter(
      (card) =>
        (!collection || card.collection === collection) &&
        `${card.title} ${card.path}`.toLowerCase().includes(this.#needle),
    );
    if (!shown.length) {
      const text = cards.length
        ? 'No document of that name here.'
        : 'Nothing here yet. Drop files or a folder anywhere on the page.';
      fill(this.list, h('p', { class: 'empty' }, text));
      return;
    }
    const sorted = shown.sort((a, b) => (a.title || a.path).localeCompare(b.title || b.path));
    fill(
      this.list,
      h(
        'ul',
        {},
        sorted.map((card) => this.#card(card)),
      ),
    );
  }

  /** @param {Card} card */
  #card(card) {
    const link = h(
      'a',
      {
        href: `#${new URLSearchParams({ doc: card.document })}`,
        class: 'card-link',
        title: card.path,
        on: { click: () => this.shut() },
      },
      typeIcon(card.type),
      h('span', {}, card.title || card.path),
    );
    const facts = [card.pages ? count(card.pages, 'page') : '', size(card.size), date(card.modified)]
      .filter(Boolean)
      .join(' · ');
    const learning =
      card.vectors < card.chunks
        ? h('span', { class: 'learning', title: 'Words are searchable; meaning is still being learnt' }, ' · learning')
        : null;
    const inspect = h(
      'button',
      {
        type: 'button',
        class: 'plain',
        title: 'Passages',
        'aria-label': `Passages of ${card.title || card.path}`,
        on: { click: () => this.viewer.inspect(card.document) },
      },
      icon('layers'),
    );
    const remove = h(
      'button',
      { type: 'button', class: 'plain', title: 'Remove', 'aria-label': `Remove ${card.title || card.path}` },
      icon('trash'),
    );
    const item = h(
      'li',
      { class: 'card' },
      link,
      h('p', {}, facts, learning),
      h('div', { class: 'card-acts' }, inspect, remove),
    );
    remove.addEventListener('click', () => this.#confirm(item, card));
    return item;
  }

  /** Removing asks first, where the document stands. @param {HTMLLIElement} item @param {Card} card */
  #confirm(item, card) {
    const before = [...item.childNodes];
    const back = () => {
      item.replaceChildren(...before);
      /** @type {HTMLElement | null} */ (item.querySelector('.card-acts button:last-child'))?.focus();
    };
    const yes = h(
      'button',
      { type: 'button', class: 'small danger', on: { click: () => this.#remove(card) } },
      'Remove',
    );
    const no = h('button', { type: 'button', class: 'small', on: { click: back } }, 'Keep');
    const ask = h(
      'div',
      { class: 'confirm', role: 'group', 'aria-label': 'Remove?' },
      h('p', {}, 'Forget ', h('b', {}, card.title || card.path), '?'),
      yes,
      no,
    );
    ask.addEventListener('keydown', (event) => event.key === 'Escape' && back());
    item.replaceChildren(ask);
    no.focus();
  }

  /** @param {Card} card */
  async #remove(card) {
    try {
      await this.room.nook.remove(card.document);
      this.toasts.say(`${card.title || card.path} is forgotten.`);
    } catch (error) {
      this.toasts.fail(error);
    }
    await this.room.refresh().catch((error) => this.toasts.fail(error));
    this.find.focus();
  }
}
