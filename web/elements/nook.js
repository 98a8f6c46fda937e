// <ingle-nook>: search and ask over a library, in one box.

import { h } from '../lib/dom.js';
import { marked } from '../lib/text.js';
import { Answer } from './answer.js';
import { drawn } from './drawn.js';
import { slo } from './nooks.js';
import { IngleSearch } from './search.js';

/** @typedef {import('../wire.gen.js').Hit} Hit */

let serial = 0;

/**
 * As <ingle-search>, and: `slo` ("first=300ms,token=40ms"), `write="off"` (passages only, no language model).
 * Without `link`, sources open inside the element. Events: `ingle-open`, and `ingle-answer` with `detail.text`.
 */
export class IngleNook extends IngleSearch {
  #stop = new AbortController();

  constructor() {
    super();
    this.body = h('div', { class: 'body' });
    this.source = h('div', {
      id: `ingle-source-${++serial}`,
      class: 'source',
      part: 'source',
      hidden: true,
      tabIndex: -1,
      role: 'region',
      'aria-label': 'Source',
    });
    this.submit = (/** @type {string} */ question) => void this.ask(question);
  }

  /** @param {import('./combo.js').Combo} combo */
  build(combo) {
    this.root.append(h('div', { class: 'frame', part: 'frame' }, combo.element, this.note, this.body, this.source));
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#stop.abort();
  }

  /** Ask, and show the answer. @param {string} question */
  async ask(question) {
    this.#stop.abort();
    const stop = new AbortController();
    this.#stop = stop;
    this.source.hidden = true;
    const write = this.getAttribute('write') !== 'off';
    /** @type {import('./hits.js').Leads} */
    const leads = {
      href: (hit, start, end) => this.href(hit, this.#words(hit, start, end)) || `#${this.source.id}`,
      open: (hit, start, end, event) => this.#open(hit, start, end, event),
    };
    const answer = new Answer(leads, write);
    const button = h('button', { type: 'button', part: 'stop', on: { click: () => stop.abort() } }, 'Stop');
    this.body.replaceChildren(answer.element, button);
    let error;
    try {
      const nook = await this.start();
      stop.signal.throwIfAborted();
      const events = nook.ask(question, { write, slo: slo(this.getAttribute('slo')), signal: stop.signal });
      for await (const event of events) answer.hear(event);
    } catch (reason) {
      error = reason;
    }
    answer.end(error);
    button.remove();
    if (!error) {
      const detail = { question, text: answer.text };
      this.dispatchEvent(new CustomEvent('ingle-answer', { detail, bubbles: true, composed: true }));
    }
  }

  /** @param {Hit} hit */
  pick(hit) {
    if (this.getAttribute('link')) super.pick(hit);
    else this.#open(hit, hit.start, hit.end, undefined);
  }

  /** @param {Hit} hit @param {number} start @param {number} end */
  #words(hit, start, end) {
    return [...hit.text].slice(Math.max(0, start - hit.start), Math.max(0, end - hit.start)).join('') || hit.text;
  }

  /** @param {Hit} hit @param {number} start @param {number} end @param {MouseEvent | undefined} event */
  async #open(hit, start, end, event) {
    const detail = { hit, start, end };
    const opened = new CustomEvent('ingle-open', { detail, bubbles: true, composed: true, cancelable: true });
    if (!this.dispatchEvent(opened)) {
      event?.preventDefault();
      return;
    }
    if (this.getAttribute('link')) return; // a real link: let the browser follow it
    event?.preventDefault();
    try {
      const nook = await this.start();
      this.#show(await nook.show(hit.document, { start, end }));
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {import('../wire.gen.js').SourceMessage} source */
  #show(source) {
    const close = h('button', { type: 'button', on: { click: () => this.#close() } }, 'Close');
    const title = [source.card.title || source.card.path, source.page ? `page ${source.page}` : '']
      .filter(Boolean)
      .join(' · ');
    const glow = 'rgb(255 214 130)';
    const view = source.image.length
      ? drawn(source, glow)
      : h('pre', { tabIndex: 0, dir: 'auto' }, marked(source.text, [source], source.offset));
    this.source.replaceChildren(h('header', {}, h('h3', {}, title), close), view);
    this.source.hidden = false;
    this.source.focus();
    (view.querySelector('mark') ?? this.source).scrollIntoView({ block: 'center' });
  }

  #close() {
    this.source.hidden = true;
    this.combo?.input.focus();
  }
}
