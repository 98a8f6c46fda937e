// Work that takes a while: what it is at, how far it is, and Stop.

import { fill, h, icon } from '../lib/dom.js';
import { isAbort } from '../lib/errors.js';
import { count, progress } from '../lib/format.js';

/** @typedef {import('../wire.gen.js').SkippedMessage} Skipped */
/** @typedef {(signal: AbortSignal, hear: (event: any) => void) => Promise<void>} Work */

/** How often the shelf is read anew while files come in, in milliseconds. */
const REFRESH = 1500;
/** How long a card stays when there is nothing to read in it. */
const GLANCE = 3500;

export class Jobs {
  /** @param {HTMLElement} element @param {import('./room.js').Room} room @param {import('./toast.js').Toasts} toasts */
  constructor(element, room, toasts) {
    this.element = element;
    this.room = room;
    this.toasts = toasts;
  }

  /**
   * Run some work with a card of its own. @param {string} title @param {number} total how many files, 0 if not known
   * @param {Work} work @returns {Promise<boolean>} whether it came to its end
   */
  async run(title, total, work) {
    const stop = new AbortController();
    const card = new JobCard(title, total, () => stop.abort());
    this.element.append(card.element);
    let fresh = performance.now();
    const hear = (/** @type {any} */ event) => {
      card.hear(event);
      if (event.type !== 'Added' || performance.now() - fresh < REFRESH) return;
      fresh = performance.now();
      this.room.refresh().catch(() => {});
    };
    let ended = false;
    try {
      await this.room.ready;
      await work(stop.signal, hear);
      ended = true;
      card.done();
    } catch (error) {
      if (isAbort(error)) card.done('Stopped. What was stored stays.');
      else {
        card.element.remove();
        this.toasts.fail(error);
      }
    }
    if (this.room.opened) await this.room.refresh().catch((error) => this.toasts.fail(error));
    this.room.dispatchEvent(new Event('learn'));
    return ended;
  }
}

/** What went wrong, without the name that stands before it already. @param {Skipped} skip */
function plain({ path, message }) {
  return message.startsWith(`${path} `) ? message.slice(path.length + 1) : message;
}

class JobCard {
  #added = 0;
  #unchanged = 0;
  /** @type {Skipped[]} */ #skipped = [];
  /** @type {string[]} */ #warnings = [];

  /** @param {string} title @param {number} total @param {() => void} stop */
  constructor(title, total, stop) {
    this.total = total;
    this.bar = h('progress', { 'aria-label': title });
    this.stage = h('p', { class: 'job-stage' }, 'Starting');
    this.stop = h('button', { type: 'button', class: 'small', on: { click: stop } }, icon('stop'), 'Stop');
    this.head = h('div', { class: 'job-head' }, h('strong', {}, title), this.stop);
    this.element = h('div', { class: 'job', role: 'group', 'aria-label': title }, this.head, this.bar, this.stage);
  }

  /** @param {any} event */
  hear(event) {
    if (event.type === 'Progress') {
      const files = this.total > 1 ? `${Math.min(this.#seen + 1, this.total)} of ${this.total} · ` : '';
      this.stage.textContent = files + progress(event);
      const within = event.total ? event.done / event.total : 0;
      if (this.total > 1) this.#move(this.#seen, this.total);
      else if (event.total) this.#move(within, 1);
      else this.bar.removeAttribute('value');
    } else if (event.type === 'Added') {
      if (event.unchanged) this.#unchanged++;
      else this.#added++;
      for (const warning of event.warnings) this.#warnings.push(`${event.card.path}: ${warning}`);
    } else if (event.type === 'Skipped') this.#skipped.push(event);
  }

  get #seen() {
    return this.#added + this.#unchanged + this.#skipped.length;
  }

  /** @param {number} value @param {number} max */
  #move(value, max) {
    this.bar.max = max;
    this.bar.value = Math.min(value, max);
  }

  /** @param {string} [how] */
  done(how) {
    const said = [
      how,
      this.#added && `${count(this.#added, 'document')} added`,
      this.#unchanged && `${this.#unchanged} unchanged`,
      this.#skipped.length && `${this.#skipped.length} skipped`,
    ];
    this.bar.remove();
    this.stage.textContent = said.filter(Boolean).join(' · ') || 'Done';
    this.stage.setAttribute('role', 'status');
    const dismiss = h(
      'button',
      { type: 'button', class: 'plain', 'aria-label': 'Dismiss', on: { click: () => this.element.remove() } },
      icon('close'),
    );
    this.stop.replaceWith(dismiss);
    const lines = [
      ...this.#skipped.map((skip) =>
        h('li', { data: { code: skip.code } }, h('b', {}, skip.path), ` ${plain(skip)} ${skip.hint}`),
      ),
      ...this.#warnings.map((warning) => h('li', {}, warning)),
    ];
    if (lines.length) {
      const list = h('ul', {});
      fill(list, lines);
      const title = `${count(lines.length, 'thing')} to know`;
      this.element.append(h('details', { class: 'job-notes', open: lines.length <= 3 }, h('summary', {}, title), list));
    } else setTimeout(() => this.element.remove(), GLANCE);
  }
}
