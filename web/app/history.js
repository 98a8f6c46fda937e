// Questions asked before, kept in this browser only.

import { fill, h } from '../lib/dom.js';
import { date } from '../lib/format.js';
import { sheet } from './sheet.js';

const KEY = 'inglenook:history';
const MOST = 200;

/** @typedef {{ question: string, when: number, path: string, text: string }} Entry */

export class History {
  /** @returns {Entry[]} newest first */
  get entries() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY) ?? '[]');
      return Array.isArray(kept) ? kept : [];
    } catch {
      return [];
    }
  }

  /** @param {Entry[]} entries */
  #write(entries) {
    try {
      localStorage.setItem(KEY, JSON.stringify(entries));
    } catch {
      // storage is refused or full: nothing is kept
    }
  }

  /** @param {Entry} entry */
  keep(entry) {
    const question = entry.question.slice(0, 500);
    const others = this.entries.filter((one) => one.question !== question);
    this.#write([{ ...entry, question, text: entry.text.slice(0, 200) }, ...others].slice(0, MOST));
  }

  clear() {
    localStorage.removeItem(KEY);
  }

  /** @param {import('./mantel.js').Mantel} mantel */
  open(mantel) {
    const body = h('div', {});
    const dialog = sheet('History', body);
    const show = () => {
      const { entries } = this;
      if (!entries.length) {
        fill(body, h('p', { class: 'lede' }, 'Questions you ask are kept here, in this browser only.'));
        return;
      }
      const again = (/** @type {Entry} */ entry) => {
        dialog.close();
        mantel.put(entry.question);
        mantel.typed();
        mantel.ask(entry.question);
      };
      const forget = (/** @type {Entry} */ entry) => {
        this.#write(this.entries.filter((one) => one.when !== entry.when));
        show();
      };
      fill(
        body,
        h(
          'ol',
          { class: 'history' },
          entries.map((entry) =>
            h(
              'li',
              {},
              h('button', { type: 'button', class: 'history-ask', on: { click: () => again(entry) } }, entry.question),
              h('p', {}, [date(entry.when / 1000), entry.path].filter(Boolean).join(' · ')),
              entry.text && h('p', { class: 'history-text', dir: 'auto' }, entry.text),
              h(
                'button',
                {
                  type: 'button',
                  class: 'small',
                  'aria-label': `Forget “${entry.question.slice(0, 60)}”`,
                  on: { click: () => forget(entry) },
                },
                'Forget',
              ),
            ),
          ),
        ),
        h(
          'button',
          {
            type: 'button',
            class: 'small danger',
            on: {
              click: () => {
                this.clear();
                show();
              },
            },
          },
          'Clear the history',
        ),
      );
    };
    show();
  }
}
