// The one input: passages as you type, an answer on Enter.

import { Answer } from '../elements/answer.js';
import { $, fill, h, icon } from '../lib/dom.js';
import { explain, isAbort } from '../lib/errors.js';
import { progress } from '../lib/format.js';
import { latest } from '../lib/latest.js';
import { dial } from './dial.js';
import { Results } from './results.js';
import { settings } from './settings.js';
import { NOT_KEPT, reason } from './storage.js';

/** @typedef {import('../wire.gen.js').Hit} Hit */

/** A question longer than this is not searched at each key. */
const LIVE = 2000;
const K = 10;
/** Whether the style sheet makes the input as high as its text; where it cannot, each key costs a layout. */
const GROWS = CSS.supports('field-sizing', 'content');

export class Mantel {
  #stop = new AbortController();
  #asked = '';
  /** @type {(idle: boolean) => void} */ onidle = () => {};

  /**
   * @param {import('./room.js').Room} room
   * @param {{ filters: import('./filters.js').Filters, history: import('./history.js').History,
   *   jobs: import('./jobs.js').Jobs, toasts: import('./toast.js').Toasts, viewer: import('./viewer.js').Viewer }} parts
   */
  constructor(room, { filters, history, toasts, viewer }) {
    this.room = room;
    this.history = history;
    this.toasts = toasts;
    this.leads = viewer.leads;
    this.input = /** @type {HTMLTextAreaElement} */ ($('#question'));
    this.button = /** @type {HTMLButtonElement} */ ($('#ask'));
    this.state = $('#engine');
    this.answer = $('#answer');
    this.results = new Results($('#results'), room, this.leads, () => this.input.focus());
    this.#live = latest(
      async (/** @type {string} */ query) => {
        await room.ready;
        return room.nook.search(query, { k: K, filter: room.wanted(), mode: settings.mode });
      },
      (hits, query) => {
        if (query === this.text && query) this.results.show(hits, query);
      },
      (error) => this.#unfound(error),
    );
    fill($('#under-tools'), filters.button, dial(), settings.writeSwitch());
    $('#mantel').addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#busy ? this.stop() : this.ask(this.text);
    });
    if (!GROWS) addEventListener('resize', () => this.#grow());
    this.input.addEventListener('input', () => this.typed());
    this.input.addEventListener('keydown', (event) => this.#key(event));
    room.addEventListener('filter', () => this.typed());
    room.addEventListener('cards', () => !this.#busy && this.text && this.text !== this.#asked && this.typed());
    room.addEventListener('place', () => {
      this.clear();
      this.#rest();
    });
    this.#face();
  }

  #live;
  #busy = false;

  get text() {
    return this.input.value.trim();
  }

  /** @param {any} event */
  engine(event) {
    if (event.type === 'Progress') this.#say(progress(event), 'lighting');
    if (event.type === 'Status' && !event.kept) this.toasts.warn(NOT_KEPT, reason(event), 'not-kept');
  }

  ready() {
    this.#rest();
    this.typed();
  }

  /** Nothing is going on. */
  #rest() {
    this.#say(this.room.place === 'tab' ? 'Ready' : 'Asking the server', 'ready');
  }

  /** Load the encoder in the background; what it is at stands below the input. */
  async learn() {
    try {
      await this.room.learn((event) => {
        if (event.type === 'Progress' && !this.#busy) this.#say(progress(event) || 'Ready', 'lighting');
      });
    } catch (error) {
      this.toasts.fail(error);
    }
    if (!this.#busy) this.ready();
  }

  /** @param {unknown} error */
  broken(error) {
    const { message, hint } = explain(error);
    this.#say('The engine is out', 'out');
    this.toasts.fail({ code: explain(error).code, message, hint });
  }

  /** @param {string} text @param {'lighting' | 'ready' | 'working' | 'out'} how */
  #say(text, how) {
    this.state.textContent = text;
    document.documentElement.dataset.fire = how;
  }

  /** @param {string} question */
  put(question) {
    this.input.value = question;
    this.#grow();
    this.input.focus();
  }

  clear() {
    this.stop();
    this.input.value = '';
    this.typed();
  }

  /** The text changed: search for it; an answer to another question leaves. */
  typed() {
    this.#grow();
    const text = this.text;
    if (text !== this.#asked) {
      this.stop();
      this.#asked = '';
      fill(this.answer);
    }
    this.onidle(!text);
    if (!text) this.results.hide();
    else if (text.length <= LIVE) this.#live(text);
    this.#face();
  }

  #grow() {
    if (GROWS) return;
    this.input.style.height = 'auto';
    this.input.style.height = `${Math.min(this.input.scrollHeight + 2, innerHeight * 0.4)}px`;
  }

  #face() {
    const busy = this.#busy;
    const word = busy ? 'Stop' : 'Ask';
    if (this.button.textContent !== word) fill(this.button, icon(busy ? 'stop' : 'arrow'), h('span', {}, word));
    this.button.disabled = !busy && !this.text;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      if (this.text) this.ask(this.text);
    } else if (event.key === 'ArrowDown' && !this.input.value.includes('\n') && this.results.focus(0))
      event.preventDefault();
    else if (event.key === 'Escape') {
      event.stopPropagation();
      if (this.#busy) this.stop();
      else this.clear();
    }
  }

  stop() {
    this.#stop.abort();
  }

  /** @param {string} question @returns {Promise<void>} */
  async ask(question) {
    if (!question) return;
    this.stop();
    const stop = new AbortController();
    this.#stop = stop;
    this.#asked = question;
    this.onidle(false);
    const answer = new Answer(this.leads, settings.write, true);
    fill(this.answer, answer.element);
    this.#work(true);
    const lead = { path: '', text: '' };
    let error;
    try {
      await this.room.ready;
      const options = { filter: this.room.wanted(), write: settings.write, slo: settings.slo, signal: stop.signal };
      for await (const event of this.room.nook.ask(question, options)) {
        answer.hear(event);
        if (event.type === 'Hits') this.results.show(event, question);
        if (event.type === 'Passage') Object.assign(lead, { path: event.hit.path, text: event.text });
      }
    } catch (reason) {
      error = reason;
    }
    if (this.#stop === stop) this.#work(false);
    if (/** @type {any} */ (error)?.code === 'server-gone') {
      await this.#fallBack(error);
      this.put(question);
      return this.ask(question);
    }
    answer.end(error);
    if (/** @type {any} */ (error)?.code === 'worker-died') this.learn();
    if (!isAbort(error)) this.history.keep({ question, when: Date.now(), ...lead });
  }

  /** A search while typing went wrong. @param {any} error */
  async #unfound(error) {
    if (error?.code !== 'server-gone') this.toasts.fail(error);
    else if (!this.#busy) {
      const { text } = this;
      await this.#fallBack(error);
      this.put(text);
      this.typed();
    } // else the question itself hears of it
  }

  /** The server is gone: from now on this tab answers. @param {unknown} error */
  async #fallBack(error) {
    if (this.room.place === 'tab') return;
    this.toasts.fail(error);
    await this.room.useTab();
  }

  /** @param {boolean} busy */
  #work(busy) {
    this.#busy = busy;
    if (this.room.opened && busy) this.#say('Reading your documents', 'working');
    else if (this.room.opened) this.#rest();
    this.#face();
  }
}
