// What a person chose about searching and answering; kept in this browser.

import { h } from '../lib/dom.js';

const KEY = 'inglenook:settings';

/** @typedef {'hybrid' | 'lexical' | 'vector'} Mode */

/** Patience: the one dial. Milliseconds to the first word and per word. */
export const PATIENCE = /** @type {const} */ ({
  any: { label: 'No hurry', slo: {} },
  soon: { label: 'First word within 2 s', slo: { first: 2000, token: 150 } },
  now: { label: 'First word within 0.5 s', slo: { first: 500, token: 60 } },
});

/** @type {{ write: boolean, mode: Mode, patience: keyof typeof PATIENCE, scores: boolean }} */
const kept = { write: true, mode: 'hybrid', patience: 'any', scores: false };

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
  get patience() {
    return kept.patience;
  },
  get scores() {
    return kept.scores;
  },
  get slo() {
    return PATIENCE[kept.patience]?.slo ?? {};
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
