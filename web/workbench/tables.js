// Tables of a report (evals/report.py), and the person's files.

import { h } from '../lib/dom.js';

/** Of more columns a narrow screen shows each row as a list. */
const MANY = 4;
/** What a badge's tone makes of a verdict. */
const VERDICTS = /** @type {Record<string, string>} */ ({ good: 'pass', bad: 'fail', open: 'undecided' });

/** @param {import('./runs.js').Table} table */
export function table({ title, columns, rows, note }) {
  const numeric = columns.map(
    (_, at) => rows.some((row) => number(row[at])) && rows.every((row) => row[at] === null || number(row[at])),
  );
  const cell = (/** @type {any} */ value, /** @type {number} */ at) =>
    h('td', { class: numeric[at] ? 'number' : '', 'data-name': columns[at] }, value === null ? '–' : shown(value));
  const head = (/** @type {string} */ name, /** @type {number} */ at) =>
    name ? h('th', { scope: 'col', class: numeric[at] ? 'number' : '' }, name) : h('td');
  return h(
    'div',
    {
      class: columns.length > MANY ? 'bench-table many' : 'bench-table',
      tabIndex: 0,
      role: 'group',
      'aria-label': title,
    },
    h(
      'table',
      {},
      h('caption', {}, title),
      rows.length > 0 && h('thead', {}, h('tr', {}, ...columns.map(head))),
      h(
        'tbody',
        {},
        ...(rows.length ? rows.map((row) => h('tr', {}, ...row.map(cell))) : [h('tr', {}, h('td', {}, 'none'))]),
      ),
    ),
    note && h('p', { class: 'fine' }, note),
  );
}

/** @param {any} value */
const number = (value) => typeof value === 'number' || /^[+-]?\d[\d,]*(\.\d+)?( %| s)?$/.test(String(value));

/** @param {any} value @returns {Node | string} */
function shown(value) {
  if (typeof value === 'number') return value.toLocaleString('en');
  if (value?.word !== undefined) return badge(value);
  if (value?.value === undefined) return String(value);
  const said = `${Math.round(100 * value.value)} %`;
  return h('span', { class: 'share' }, h('meter', { value: value.value, 'aria-label': said }), said);
}

/** @param {import('./runs.js').Badge} badge */
export const badge = ({ word, tone }) => h('span', { class: `verdict ${VERDICTS[tone] ?? ''}` }, word);

/**
 * Ask the person for files. @param {{ accept?: string, many?: boolean, folder?: boolean }} [what] @returns {Promise<File[]>}
 */
export function pick({ accept = '', many = false, folder = false } = {}) {
  const input = h('input', { type: 'file', accept, multiple: many, webkitdirectory: folder });
  return new Promise((resolve) => {
    input.addEventListener('change', () => resolve([...(input.files ?? [])]));
    input.addEventListener('cancel', () => resolve([]));
    input.click();
  });
}
