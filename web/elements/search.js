// <ingle-search>: a search box over a library. Nothing else.

import { h } from '../lib/dom.js';
import { explain, isAbort } from '../lib/errors.js';
import { progress } from '../lib/format.js';
import { Combo } from './combo.js';
import { address, leave, nookFor } from './nooks.js';
import { parts, tokens, widget } from './sheet.js';

/** @typedef {import('../wire.gen.js').Hit} Hit */

/**
 * Attributes: `src` (a .nook file) or `name` (a library of this origin), `base`, `k`, `label`, `placeholder`, `link`
 * (pattern of the address a passage leads to, "/docs/{path}"), `network`, `theme`.
 * Event: `ingle-open` with `detail.hit` when a passage is chosen; preventing it stops the navigation.
 */
export class IngleSearch extends HTMLElement {
  constructor() {
    super();
    this.root = this.attachShadow({ mode: 'open' });
    this.root.adoptedStyleSheets = [tokens, parts, widget];
    this.note = h('p', { class: 'note', part: 'note', role: 'status' });
    /** @type {Combo | undefined} */
    this.combo = undefined;
  }

  connectedCallback() {
    if (this.combo) return;
    this.combo = new Combo({
      label: this.getAttribute('label') ?? 'Search the documents',
      placeholder: this.getAttribute('placeholder') ?? 'Search the documents',
      search: (query) => this.find(query),
      pick: (hit) => this.pick(hit),
      submit: this.submit?.bind(this),
      fail: (error) => this.fail(error),
    });
    this.combo.input.addEventListener('focus', () => this.start().catch((error) => this.fail(error)), { once: true });
    this.build(this.combo);
  }

  disconnectedCallback() {
    queueMicrotask(() => {
      if (!this.isConnected) leave(this); // moving an element within the page is no goodbye
    });
  }

  /** @param {Combo} combo */
  build(combo) {
    this.root.append(combo.element, this.note);
  }

  /** @type {((query: string) => void) | undefined} */
  submit = undefined;

  /** The library, opened on first use. */
  async start() {
    const nook = await nookFor(this, (event) => {
      if (event.type === 'Progress') this.note.textContent = progress(event);
    });
    this.note.textContent = '';
    return nook;
  }

  /** @param {string} query @returns {Promise<Hit[]>} */
  async find(query) {
    const nook = await this.start();
    return (await nook.search(query, { k: Number(this.getAttribute('k') ?? 8) })).hits;
  }

  /** Where a passage leads on the site, if a `link` pattern is given. @param {Hit} hit @param {string} text */
  href(hit, text) {
    const link = this.getAttribute('link');
    return link ? address(link, hit.path, text) : '';
  }

  /** @param {Hit} hit */
  pick(hit) {
    const event = new CustomEvent('ingle-open', { detail: { hit }, bubbles: true, composed: true, cancelable: true });
    if (!this.dispatchEvent(event)) return;
    const href = this.href(hit, hit.text);
    if (href) location.assign(href);
  }

  /** @param {unknown} error */
  fail(error) {
    if (isAbort(error)) return;
    const { message, hint } = explain(error);
    this.note.textContent = `${message} ${hint}`;
  }
}
