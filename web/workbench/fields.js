// What a person is asked before a run: a number, one of some names, yes or no.

import { fill, h } from '../lib/dom.js';

/** @typedef {{ element: HTMLElement, get: () => any, offer?: (names: string[]) => void, missing?: () => boolean }} Field */

/**
 * A number that a person gives. @param {string} label @param {number | null} value null: none need be given
 * @param {{ step?: string, max?: string, none?: string }} [how] what it says where none is given
 */
export function number(label, value, { step = '1', max = '', none = 'any' } = {}) {
  const input = h('input', { type: 'number', min: step, max, step, value: value ?? '', placeholder: none });
  return { element: h('label', { class: 'field' }, label, input), get: () => Number(input.value) || value };
}

/** One of some names, or none. @param {string} label @param {string} none */
export function choice(label, none) {
  const select = h('select', {});
  const offer = (/** @type {string[]} */ names) => {
    const { value } = select;
    fill(
      select,
      h('option', { value: '' }, none),
      ...names.map((name) => h('option', { value: name, selected: name === value }, name)),
    );
  };
  offer([]);
  const choose = (/** @type {string} */ name) => {
    select.value = name;
    select.dispatchEvent(new Event('change', { bubbles: true }));
  };
  return { element: h('label', { class: 'field' }, label, select), get: () => select.value, offer, choose };
}

/** Some of several, each by its value, what it is about, and its name. @typedef {readonly [string, string, string?]} Choice */
/**
 * @param {string} label @param {readonly Choice[]} choices @param {boolean} all whether they are ticked at first
 * @param {() => void} [onchange]
 */
export function ticks(label, choices, all, onchange) {
  const boxes = choices.map(([value]) => h('input', { type: 'checkbox', value, checked: all }));
  const element = h(
    'div',
    { class: 'tiers', role: 'group', 'aria-label': label, on: { change: () => onchange?.() } },
    ...choices.map(([value, about, name = value], i) =>
      h('label', { class: 'tick' }, boxes[i], h('span', {}, h('b', {}, name), h('small', {}, about))),
    ),
  );
  return { element, get: () => boxes.filter(({ checked }) => checked).map(({ value }) => value) };
}

/** The same where few look: folded away, with how many are chosen. @param {string} label @param {readonly Choice[]} choices @param {boolean} all */
export function folded(label, choices, all) {
  const many = h('span', {});
  const { element: boxes, get } = ticks(label, choices, all, () => said());
  const said = () => (many.textContent = ` ${get().length} of ${choices.length}`);
  said();
  return { element: h('details', { class: 'bench-more' }, h('summary', {}, label, many), boxes), get };
}

/** @param {string} label */
export function tick(label) {
  const input = h('input', { type: 'checkbox' });
  return { element: h('label', { class: 'tick' }, input, label), get: () => input.checked };
}
