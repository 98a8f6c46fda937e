// The dial: how soon an answer must begin. Everything else follows from it.

import { h } from '../lib/dom.js';
import { DIAL, settings } from './settings.js';

/** The dials of the page: turning one turns all. @type {Set<{ input: HTMLInputElement, show: () => void }>} */
const dials = new Set();

/**
 * A slider from patient to hurried. @param {() => void} [onturn] called when it, or another dial, was turned
 * @returns {HTMLElement}
 */
export function dial(onturn = () => {}) {
  const said = h('output', { class: 'dial-said' });
  const input = h('input', {
    type: 'range',
    min: '0',
    max: String(DIAL.length - 1),
    step: '1',
    'aria-label': 'First word',
    on: {
      input: () => {
        settings.set({ dial: Number(input.value) });
        for (const other of [...dials]) {
          if (other.input.isConnected) other.show();
          else dials.delete(other);
        }
      },
    },
  });
  const title = 'How soon an answer must begin. In a hurry a smaller part of the model answers, and it may read less.';
  const element = h('label', { class: 'dial', title }, h('span', {}, 'First word'), input, said);
  const face = () => {
    const { label } = DIAL[settings.dial];
    input.value = String(settings.dial);
    input.setAttribute('aria-valuetext', label);
    said.textContent = label;
  };
  const show = () => {
    face();
    onturn();
  };
  face();
  dials.add({ input, show });
  return element;
}
