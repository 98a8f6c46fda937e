// An answer as it comes: the passage first, then what the small model writes, sentence by sentence.

import { fill, h } from '../lib/dom.js';
import { explain, isAbort } from '../lib/errors.js';
import { progress } from '../lib/format.js';
import { length, marked, sentences, units } from '../lib/text.js';
import { hitCard, place, sourceLink } from './hits.js';
import { timing } from './timing.js';

/** @typedef {import('../wire.gen.js').Event} Event */
/** @typedef {import('../wire.gen.js').CitationMessage} Citation */
/** @typedef {import('./hits.js').Leads} Leads */

/** Between the passage and the first word of the model. */
const PREFILL = 'The small model is reading the passages';

/** Shows one stream of Ask events. Give it every event, then call `end`. */
export class Answer {
  #leads;
  #text = '';
  /** code points of the text that stand in the log as whole sentences */
  #told = 0;
  /** @type {Array<{ start: number, end: number, node: HTMLElement }>} */ #sentences = [];
  /** @type {Citation[]} */ #citations = [];
  /** @type {string[]} */ #sources = [];

  #writes;
  #below;
  /** why the answer is written where it is */
  #reason = '';

  /**
   * @param {Leads} leads @param {boolean} [writes] whether the model is to write
   * @param {boolean} [below] whether the passages found stand below it anyway
   */
  constructor(leads, writes = false, below = false) {
    this.#leads = leads;
    this.#writes = writes;
    this.#below = below;
    this.lead = h('div', { class: 'lead' });
    this.log = h('div', {
      class: 'log',
      role: 'log',
      'aria-label': 'Written answer',
      'aria-live': 'polite',
      'aria-relevant': 'additions',
    });
    this.tail = h('span', { class: 'tail', 'aria-hidden': 'true' });
    this.doubt = h('p', { class: 'doubt' });
    this.status = h('p', { class: 'answer-status', role: 'status' });
    this.label = h(
      'p',
      { class: 'kicker' },
      'Written by a 135M model ',
      h('span', {}, 'small, and often wrong: the passage above counts'),
    );
    this.written = h(
      'div',
      { class: 'written', hidden: true },
      this.label,
      h('div', { class: 'prose', dir: 'auto' }, this.log, this.tail),
      this.doubt,
    );
    this.timing = h('div', { class: 'timing-slot' });
    this.element = h(
      'section',
      { class: 'answer', part: 'answer', 'aria-label': 'Answer' },
      this.lead,
      this.written,
      this.status,
      this.timing,
    );
  }

  /** The written answer so far. */
  get text() {
    return this.#text;
  }

  /** @param {Event} event */
  hear(event) {
    if (event.type === 'Progress') this.#progress(event);
    else if (event.type === 'Passage') this.#passage(event);
    else if (event.type === 'NoSource') this.#none(event.nearest);
    else if (event.type === 'Placed') this.#place(event);
    else if (event.type === 'Token') this.#token(event.text);
    else if (event.type === 'Citation') this.#cite(event);
    else if (event.type === 'Timing') {
      this.#tell(true);
      this.#say('');
      if (this.#text && !this.#sources.length) this.doubt.textContent = 'No passage of yours supports this text.';
      if (event.stop === 'length') this.tail.textContent = ' … (cut at the length asked for)';
      fill(this.timing, timing(event, this.#reason));
    }
  }

  /** @param {unknown} [error] */
  end(error) {
    this.#tell(true);
    this.#say('');
    if (!error) return;
    if (isAbort(error)) {
      this.#say('Stopped.');
      return;
    }
    const { message, hint } = explain(error);
    fill(this.status, h('strong', {}, message), ' ', hint);
    this.status.classList.add('failed');
  }

  /** @param {import('../wire.gen.js').ProgressMessage} event */
  #progress(event) {
    if (event.stage === 'load' && event.total && event.done >= event.total) this.#say(PREFILL);
    else this.#say(progress(event), event);
  }

  /** @param {string} text @param {{ done: number, total: number }} [amount] */
  #say(text, amount) {
    fill(
      this.status,
      text && h('span', {}, text),
      amount?.total ? h('progress', { max: amount.total, value: amount.done, 'aria-label': text }) : null,
    );
  }

  /** @param {import('../wire.gen.js').PassageMessage} event */
  #passage({ hit, start, end, text }) {
    const link = sourceLink(this.#leads, hit, start, end, { class: 'cite-link' }, hit.title || hit.path);
    const near = hit.marks.filter((mark) => mark.start >= start && mark.end <= end);
    if (this.#writes) this.#say(PREFILL);
    if (!this.lead.childElementCount) this.lead.append(h('p', { class: 'kicker' }, 'From your documents'));
    this.lead.append(
      h('blockquote', { dir: 'auto' }, h('p', {}, marked(text, near, start))),
      h('p', { class: 'cite' }, link, place(hit) && h('span', {}, ` · ${place(hit)}`)),
    );
  }

  /** @param {import('../wire.gen.js').Hit[]} nearest */
  #none(nearest) {
    const closest = this.#below ? ' The passages below come closest.' : ' These passages come closest:';
    fill(
      this.lead,
      h('p', { class: 'kicker' }, 'No source found'),
      h('p', { class: 'none' }, 'Nothing in your documents answers this.', nearest.length ? closest : ''),
      nearest.length && !this.#below
        ? h(
            'ul',
            { class: 'nearest' },
            nearest.slice(0, 3).map((hit) => h('li', {}, hitCard(hit, this.#leads, { title: 'p' }))),
          )
        : null,
    );
  }

  /** It is written elsewhere, or here after all: from its beginning. @param {import('../wire.gen.js').PlacedMessage} event */
  #place({ where, reason }) {
    this.#reason = reason;
    this.#text = '';
    this.#told = 0;
    for (const list of [this.#sentences, this.#citations, this.#sources]) list.length = 0;
    fill(this.log);
    fill(this.tail);
    this.written.hidden = true;
    this.#say(where === 'tab' ? PREFILL : 'The server is reading the passages');
  }

  /** @param {string} text */
  #token(text) {
    this.#text += text;
    if (!this.#text.trim()) return;
    this.written.hidden = false;
    this.#say('');
    this.#tell(false);
  }

  /** Move whole sentences to the log, where they are read out once; the rest is only seen. @param {boolean} all */
  #tell(all) {
    const from = units(this.#text)(this.#told);
    const rest = this.#text.slice(from);
    const cut = all ? rest.length : sentences(rest);
    if (cut) {
      const said = rest.slice(0, cut);
      const text = this.#told ? said : said.trimStart();
      const node = h('span', { class: 'sentence' }, text.trimEnd());
      const end = this.#told + length(said);
      this.#sentences.push({ start: this.#told, end, node });
      this.log.append(node, text.slice(text.trimEnd().length)); // outside: a reference follows its word, unbroken
      this.#told = end;
    }
    this.tail.textContent = rest.slice(cut);
    for (const citation of this.#citations.splice(0)) this.#cite(citation);
  }

  /** @param {Citation} citation */
  #cite(citation) {
    const sentence = this.#sentences.find(({ start, end }) => citation.end > start && citation.end <= end);
    if (!sentence) {
      this.#citations.push(citation);
      return;
    }
    const { hit, source } = citation;
    const key = `${hit.document} ${source.start} ${source.end}`;
    if (!this.#sources.includes(key)) this.#sources.push(key);
    const number = String(this.#sources.indexOf(key) + 1);
    const name = `Source ${number}: ${[hit.title || hit.path, place(hit)].filter(Boolean).join(', ')}`;
    const props = { class: 'ref', title: name, 'aria-label': name };
    sentence.node.append(h('sup', {}, sourceLink(this.#leads, hit, source.start, source.end, props, number)));
  }
}
