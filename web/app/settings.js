// What a person chose about searching and answering; kept in this browser.

import { h } from '../lib/dom.js';

const KEY = 'inglenook:settings';

/** @typedef {'hybrid' | 'lexical' | 'vector'} Mode */

/** The one dial: milliseconds to the first word and per token after it, from patient to hurried. */
export const DIAL = /** @type {const} */ ([
  { label: 'no hurry', slo: {} },
  { label: 'within 2 s', slo: { first: 2000, token: 150 } },
  { label: 'within 1 s', slo: { first: 1000, token: 80 } },
  { label: 'within 0.5 s', slo: { first: 500, token: 50 } },
  { label: 'within 0.25 s', slo: { first: 250, token: 30 } },
]);

/** @type {{ write: boolean, mode: Mode, dial: number, scores: boolean }} */
const kept = { write: true, mode: 'hybrid', dial: 0, scores: false };

try {
  Object.assign(kept, JSON.parse(localStorage.getItem(KEY) ?? '{}'));
} catch {
  // storage is refused or damaged: the defaults hold
}

export const settings = {
  get write() {
    return kept.write;
  },
  get mode() {
    return kept.mode;
  },
  get dial() {
    return DIAL[kept.dial] ? kept.dial : 0;
  },
  get scores() {
    return kept.scores;
  },
  get slo() {
    return DIAL[settings.dial].slo;
  },

  /** @param {Partial<typeof kept>} change */
  set(change) {
    Object.assign(kept, change);
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // it lasts as long as the page
    }
  },

  /** The switch that keeps the language model out of it. */
  writeSwitch() {
    const box = h('input', {
      type: 'checkbox',
      role: 'switch',
      checked: kept.write,
      on: { change: () => settings.set({ write: box.checked }) },
    });
    const title = 'Off: the answer is the passages themselves, and no language model is loaded';
    return h('label', { class: 'switch', title }, box, h('span', {}, 'Written answers'));
  },
};
