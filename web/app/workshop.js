// Where the workbench opens: it is loaded then (workbench.js), and not before.

import { BASE } from '../base.js';

export class Workshop {
  /** @type {Promise<{ show(): void, hide(): void }> | undefined} */ #made;
  /** @type {(open: boolean) => void} */ onturn = () => {};

  /**
   * @param {HTMLElement} element @param {import('./room.js').Room} room
   * @param {{ network: import('./network.js').Network, toasts: import('./toast.js').Toasts, question: HTMLElement }} parts
   */
  constructor(element, room, parts) {
    this.element = element;
    this.room = room;
    this.parts = parts;
  }

  get isOpen() {
    return !this.element.hidden;
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  async open() {
    this.element.hidden = false;
    document.body.classList.add('benching');
    this.onturn(true);
    try {
      this.#made ??= this.#make();
      const made = await this.#made;
      if (this.isOpen) made.show();
    } catch (error) {
      this.#made = undefined;
      this.parts.toasts.fail(error);
      this.close();
    }
  }

  close() {
    this.element.hidden = true;
    document.body.classList.remove('benching');
    this.onturn(false);
    this.parts.question.focus();
    this.#made?.then((made) => made.hide()).catch(() => {});
  }

  async #make() {
    const { network, toasts } = this.parts;
    const { workbench } = await import(new URL('workbench.js', BASE).href);
    return workbench(this.element, {
      close: () => this.close(),
      off: () => network.off,
      levels: async () => {
        const { nook, place } = this.room;
        const there = place === 'tab' && (await nook.status()).models.lm === 'ready'; // it is not loaded for this
        return there ? (await nook.levels()).levels : [];
      },
      toasts: {
        fail: (/** @type {unknown} */ error) => toasts.fail(error),
        say: (/** @type {string} */ text) => toasts.say(text),
      },
    });
  }
}
