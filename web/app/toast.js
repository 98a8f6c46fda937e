// Short notices, read out as they come. Those with an error stay until they are closed.

import { h, icon } from '../lib/dom.js';
import { explain, isAbort } from '../lib/errors.js';

/** At most this many at once: the oldest leaves first. */
const MOST = 4;
/** How long a good notice stays, in milliseconds. */
const STAY = 6000;

export class Toasts {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
  }

  /** @param {string} message @param {string} [hint] */
  say(message, hint = '') {
    const toast = this.#add('toast', message, hint);
    setTimeout(() => toast.remove(), STAY);
  }

  /** Something to know that stays until it is closed. @param {string} message @param {string} hint @param {string} code */
  warn(message, hint, code) {
    this.#add('toast failed', message, hint, code);
  }

  /** @param {unknown} error */
  fail(error) {
    if (isAbort(error)) return;
    const { message, hint, code } = explain(error);
    this.#add('toast failed', message, hint, code);
  }

  /** @param {string} className @param {string} message @param {string} hint @param {string} [code] */
  #add(className, message, hint, code) {
    const close = h(
      'button',
      { type: 'button', class: 'plain', 'aria-label': 'Dismiss', on: { click: () => toast.remove() } },
      icon('close'),
    );
    const toast = h(
      'div',
      { class: className, data: code ? { code } : {} },
      h('p', {}, h('strong', {}, message), hint && ` ${hint}`),
      close,
    );
    this.element.append(toast);
    while (this.element.children.length > MOST) this.element.firstElementChild?.remove();
    return toast;
  }
}
