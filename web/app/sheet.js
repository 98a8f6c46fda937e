// A panel that slides over the page: a dialog, so Esc closes it and the focus stays inside and returns.

import { h, icon } from '../lib/dom.js';

/** @param {string} title @param {...import('../lib/dom.js').Child} content @returns {HTMLDialogElement} */
export function sheet(title, ...content) {
  const id = `sheet-${crypto.randomUUID()}`;
  const close = h(
    'button',
    { type: 'button', class: 'plain', 'aria-label': 'Close', on: { click: () => dialog.close() } },
    icon('close'),
  );
  const body = h('div', { class: 'sheet-body' }, ...content);
  // What scrolls is reached by keys: by the first thing to use in it, or else by itself.
  if (!body.querySelector('a[href], button, input, select, textarea, summary, [tabindex]')) body.tabIndex = 0;
  const dialog = h(
    'dialog',
    { class: 'sheet', 'aria-labelledby': id },
    h('header', {}, h('h2', { id }, title), close),
    body,
  );
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close(); // the backdrop
  });
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
