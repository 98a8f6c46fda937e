// The source, beside the answer: a document's text with the passage marked, or the drawn page of a PDF.

import { drawn } from '../elements/drawn.js';
import { $, fill, h, icon } from '../lib/dom.js';
import { date, size } from '../lib/format.js';
import { length, marked, units } from '../lib/text.js';
import { inspector } from './inspector.js';

/** @typedef {import('../wire.gen.js').SourceMessage} Source */

/** Characters of a long text that are laid out at once, on each side of the passage. */
const WINDOW = 12000;

export class Viewer {
  /** @type {HTMLElement | null} */ #opener = null;
  /** @type {Map<string, number[]>} page starts of documents */ #pages = new Map();
  #asked = 0;

  /** @param {HTMLElement} element @param {import('./room.js').Room} room @param {import('./toast.js').Toasts} toasts */
  constructor(element, room, toasts) {
    this.element = element;
    this.room = room;
    this.toasts = toasts;
    /** @type {import('../elements/hits.js').Leads} */
    this.leads = {
      href: (hit, start, end) =>
        `#${new URLSearchParams({ doc: hit.document, start: String(start), end: String(end) })}`,
      open: (hit, start, end) => {
        this.#opener = /** @type {HTMLElement} */ (document.activeElement);
        // The link changes the address; a second click on the same one must open it all the same.
        if (location.hash === this.leads.href(hit, start, end)) this.follow();
      },
    };
    addEventListener('hashchange', () => this.follow());
  }

  /** Show what the address says. */
  follow() {
    const at = new URLSearchParams(location.hash.slice(1));
    const doc = at.get('doc');
    if (!doc) return;
    this.open(doc, Number(at.get('start') ?? 0), Number(at.get('end') ?? 0));
  }

  /** Go to a passage; closing leads back to where the focus is now. @param {string} document @param {number} start @param {number} end */
  visit(document, start, end) {
    const hit = /** @type {import('../wire.gen.js').Hit} */ ({ document });
    this.leads.open(hit, start, end, new MouseEvent('click'));
    location.hash = this.leads.href(hit, start, end);
  }

  /** @param {string} document @param {number} start @param {number} end */
  async open(document, start, end) {
    const asked = ++this.#asked;
    try {
      await this.room.ready;
      const width = Math.round(Math.min(900, innerWidth) * Math.min(devicePixelRatio, 2));
      const source = await this.room.nook.show(document, { start, end, width });
      if (asked === this.#asked) this.#show(source);
    } catch (error) {
      if (asked === this.#asked) this.toasts.fail(error);
    }
  }

  get isOpen() {
    return !this.element.hidden;
  }

  close() {
    this.#asked++;
    this.element.hidden = true;
    document.body.classList.remove('viewing');
    if (location.hash) history.replaceState(null, '', location.pathname + location.search);
    (this.#opener?.isConnected ? this.#opener : $('#question')).focus();
  }

  /** @param {Source} source */
  #show(source) {
    const { card } = source;
    const heading = h('h2', { tabIndex: -1 }, card.title || card.path);
    const inspect = h(
      'button',
      { type: 'button', class: 'small', on: { click: () => this.inspect(card.document) } },
      icon('layers'),
      'Passages',
    );
    const close = h(
      'button',
      { type: 'button', class: 'plain', 'aria-label': 'Close the source', on: { click: () => this.close() } },
      icon('close'),
    );
    const facts = [card.title && card.title !== card.path ? card.path : '', size(card.size), date(card.modified)]
      .filter(Boolean)
      .join(' · ');
    const body = h(
      'div',
      { class: 'viewer-body', tabIndex: 0, role: 'group', 'aria-label': 'Text of the source' },
      source.image.length ? this.#page(source) : this.#text(source),
    );
    fill(
      this.element,
      h('header', { class: 'viewer-head' }, h('div', {}, heading, h('p', {}, facts)), inspect, close),
      source.page ? this.#turn(source) : null,
      body,
    );
    this.element.hidden = false;
    document.body.classList.add('viewing');
    heading.focus({ preventScroll: true });
    const mark = body.querySelector('mark');
    if (mark)
      body.scrollTop += mark.getBoundingClientRect().top - body.getBoundingClientRect().top - body.clientHeight / 3;
    const first = source.boxes[0];
    if (first) body.scrollTop = Math.max(0, (first.y / source.height) * body.scrollHeight - body.clientHeight / 3);
  }

  /** @param {Source} source */
  #page(source) {
    const text = h('details', { class: 'page-text' }, h('summary', {}, 'Text of this page'), this.#text(source));
    return [drawn(source, 'rgb(255 214 130)'), text];
  }

  /** @param {Source} source */
  #text({ text, offset, start, end, card }) {
    const code = card.type === 'code' || card.type === 'csv' || card.type === 'jsonl';
    const total = length(text);
    const from = Math.max(0, start - offset - WINDOW);
    const to = Math.min(total, end - offset + WINDOW);
    const at = units(text);
    const a = at(from);
    const b = at(to);
    const more = (/** @type {string} */ label, /** @type {string} */ rest, /** @type {boolean} */ before) => {
      const button = h(
        'button',
        { type: 'button', class: 'small', on: { click: () => button.replaceWith(rest) } },
        label,
      );
      return rest && (before ? [button, '\n'] : ['\n', button]);
    };
    return h(
      'pre',
      { class: code ? 'source-text code' : 'source-text', dir: 'auto' },
      more('Show what comes before', text.slice(0, a), true),
      marked(text.slice(a, b), end > start ? [{ start, end }] : [], offset + from),
      more('Show what comes after', text.slice(b), false),
    );
  }

  /** Page forward and back. @param {Source} source */
  #turn({ card, page }) {
    const now = /** @type {number} */ (page);
    const turn = (/** @type {'left' | 'right'} */ way, /** @type {number} */ to) =>
      h(
        'button',
        {
          type: 'button',
          class: 'plain',
          disabled: to < 1 || to > card.pages,
          'aria-label': way === 'left' ? 'Page before' : 'Next page',
          on: { click: () => this.#go(card.document, to) },
        },
        icon(way),
      );
    return h(
      'nav',
      { class: 'pages', 'aria-label': 'Pages' },
      turn('left', now - 1),
      h('span', { role: 'status' }, `Page ${now} of ${card.pages}`),
      turn('right', now + 1),
    );
  }

  /** @param {string} id @param {number} page */
  async #go(id, page) {
    try {
      let starts = this.#pages.get(id);
      if (!starts) {
        starts = (await this.room.nook.inspect(id)).pages;
        this.#pages.set(id, starts);
      }
      const start = starts[page - 1] ?? 0;
      await this.open(id, start, start);
    } catch (error) {
      this.toasts.fail(error);
    }
  }

  /** How the document was cut, with the scores of the question that stands in the input. @param {string} id */
  async inspect(id) {
    try {
      const query = /** @type {HTMLTextAreaElement} */ (document.querySelector('#question')).value.trim();
      await inspector(this.room, id, query, (start, end) => this.open(id, start, end));
    } catch (error) {
      this.toasts.fail(error);
    }
  }
}
