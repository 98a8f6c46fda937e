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
  const dialog = h(
    'dialog',
    { class: 'sheet', 'aria-labelledby': id },
    h('header', {}, h('h2', { id }, title), close),
    h('div', { class: 'sheet-body' }, ...content),
  );
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close(); // the backdrop
  });
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
