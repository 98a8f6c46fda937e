// A text of a report with its parts marked (evals/page.py): which segment each piece came from, and how it stands.

import { h } from '../lib/dom.js';

/** How a tone is said where colours are not seen. */
const SIGNS = /** @type {Record<string, string>} */ ({ bad: '✗', good: '✓', open: '~' });

/** @param {import('./runs.js').Passage} passage */
export function passage({ title, texts, note }) {
  return h(
    'section',
    { class: 'bench-passage' },
    h('h5', {}, title),
    note && h('p', { class: 'fine' }, note),
    ...texts.flatMap(([heading, pieces]) => [
      h('p', { class: 'fine' }, heading),
      h('pre', { tabIndex: 0, role: 'group', 'aria-label': `${title}, ${heading}` }, ...pieces.map(mark)),
    ]),
  );
}

/** @param {import('./runs.js').Mark} mark */
function mark({ text, name, tone }) {
  if (!name && !tone) return text;
  const label = [SIGNS[tone], name].filter(Boolean).join(' ');
  return h('mark', { class: tone }, label && h('small', {}, label), text);
}
