// The map of the library: topics beside one another, passages as points on them. It stands where answers stand, so that
// what is searched lights up on it.

import { fill, h, icon } from '../lib/dom.js';
import { explain, isAbort } from '../lib/errors.js';
import { count, progress } from '../lib/format.js';
import { latest } from '../lib/latest.js';
import { Atlas } from './atlas.js';
import { Legend } from './legend.js';
import { Paper } from './paper.js';
import { settings } from './settings.js';

/** Passages of a search that are shown on the map. */
const HITS = 40;

export class MapOfLibrary {
  /** @type {Atlas | undefined} */ #atlas;
  #stop = new AbortController();
  #busy = false;
  /** it was stopped or failed: it is not tried again unasked */
  #halted = false;
  /** what the library was when the map was made */
  #drawn = '';
  #light;
  /** @type {(open: boolean) => void} */ onturn = () => {};

  /**
   * @param {HTMLElement} element @param {import('./room.js').Room} room
   * @param {{ viewer: import('./viewer.js').Viewer, question: HTMLElement }} parts
   */
  constructor(element, room, { viewer, question }) {
    this.element = element;
    this.room = room;
    this.question = question;
    this.paper = new Paper(room, {
      choose: (t) => this.choose(t),
      open: (i) => {
        const { document, start, end } = /** @type {Atlas} */ (this.#atlas).passage(i);
        viewer.visit(document, start, end);
      },
    });
    const { chart } = this.paper;
    this.legend = new Legend(viewer.leads, {
      choose: (t) => this.choose(t),
      mark: (points) => {
        chart.marked = points;
        chart.draw();
      },
    });
    const small = (/** @type {() => void} */ click, /** @type {import('../lib/dom.js').Child[]} */ ...words) =>
      h('button', { type: 'button', class: 'small', on: { click } }, ...words);
    this.title = h('h2', { tabIndex: -1 }, 'Map of the library');
    this.facts = h('p', { class: 'facts', role: 'status' });
    this.halt = small(() => this.#stop.abort(), icon('stop'), 'Stop');
    this.again = small(() => this.make(), 'Draw anew');
    const close = h(
      'button',
      { type: 'button', class: 'plain', 'aria-label': 'Close the map', on: { click: () => this.close() } },
      icon('close'),
    );
    fill(
      element,
      h('header', {}, this.title, this.facts, this.halt, this.again, close),
      h('div', { class: 'map-body' }, this.paper.element, this.legend.element),
    );
    this.#light = latest(
      async (/** @type {string} */ query) =>
        query ? room.nook.search(query, { k: HITS, filter: room.wanted(), mode: settings.mode }) : { hits: [] },
      ({ hits }, query) => query === room.asked.query && this.#lit(hits),
      () => {}, // the search itself tells what is wrong
    );
    room.addEventListener('asked', () => this.isOpen && this.#light(room.asked.query));
    room.addEventListener('cards', () => this.isOpen && this.#changed());
    room.addEventListener('place', () => this.isOpen && this.make());
  }

  get isOpen() {
    return !this.element.hidden;
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  open() {
    this.element.hidden = false;
    document.body.classList.add('mapping');
    this.onturn(true);
    this.title.focus({ preventScroll: true });
    this.#light(this.room.asked.query);
    if (this.#drawn !== this.#state()) this.make();
    else this.#said();
  }

  close() {
    this.#stop.abort();
    this.element.hidden = true;
    document.body.classList.remove('mapping');
    this.onturn(false);
    this.question.focus();
  }

  /** @param {number} t a topic, -1 for all */
  choose(t) {
    const { chart } = this.paper;
    const before = chart.topic;
    this.paper.point(-1);
    chart.topic = t;
    chart.marked = [];
    chart.fit(t);
    if (t >= 0) this.legend.topic(t);
    else this.legend.topics(before);
  }

  // ── making ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async make() {
    this.#stop.abort();
    const stop = new AbortController();
    this.#stop = stop;
    this.#busy = true;
    this.#halted = false;
    this.#said('Drawing the map');
    try {
      await this.room.ready;
      const state = this.#state();
      for await (const event of this.room.nook.map({ signal: stop.signal })) {
        if (event.type === 'Topics') {
          this.#show(new Atlas(event, this.room.cards));
          this.#drawn = state;
        } else if (event.type === 'Progress') {
          const loaded = event.stage === 'load' && event.done === event.total;
          this.#said(loaded ? 'Looking for topics' : progress(event));
        }
      }
      if (stop === this.#stop) this.#ended();
    } catch (error) {
      if (stop !== this.#stop) return;
      const { message, hint } = explain(error);
      this.#ended(isAbort(error) ? 'Stopped' : `${message} ${hint}`);
    }
  }

  /** @param {string} [how] what went wrong */
  #ended(how) {
    this.#busy = false;
    this.#halted = Boolean(how);
    if (how) this.#drawn = '';
    this.#said(how);
    if (!how) this.#changed(); // something may have come while it was made
  }

  /** What the library is: a map of another is another. */
  #state() {
    return `${this.room.place} ${this.room.cards.map((card) => `${card.document} ${card.added} ${card.vectors}`)}`;
  }

  #changed() {
    if (this.#busy || this.#halted || this.#drawn === this.#state()) return;
    const learnt = this.room.cards.every((card) => card.vectors === card.chunks);
    if (this.#atlas?.by === 'place' && learnt && this.room.cards.length) this.make();
    else this.#said();
  }

  /** One line: how far the map is, or what it shows. @param {string} [what] */
  #said(what) {
    const stale = !this.#busy && this.#drawn !== this.#state();
    this.halt.hidden = !this.#busy;
    this.again.hidden = !stale;
    const news = what ?? (stale && 'The library has changed');
    this.facts.textContent = [news, this.#atlas && summary(this.#atlas)].filter(Boolean).join(' · ');
  }

  /** @param {Atlas} atlas */
  #show(atlas) {
    this.#atlas = atlas;
    this.paper.point(-1);
    this.paper.chart.show(atlas);
    this.legend.show(atlas);
    this.#light(this.room.asked.query);
  }

  /** What a search found, on the map. @param {import('../wire.gen.js').Hit[]} hits */
  #lit(hits) {
    const points = hits.map(({ document, chunk }) => this.#atlas?.find(document, chunk) ?? -1);
    this.paper.chart.found = new Set(points.filter((i) => i >= 0));
    this.paper.chart.draw();
  }
}

/** What a map shows. @param {Atlas} atlas */
function summary({ by, size, passages, topics, waiting }) {
  const of = size < passages - waiting ? `${size.toLocaleString('en')} of ` : '';
  const all = of ? of + count(passages, 'passage') : count(size, 'passage');
  const shown = by === 'place' ? `${count(size, 'document')} by folder` : `${all} in ${count(topics.length, 'topic')}`;
  return waiting ? `${shown} · ${count(waiting, 'passage')} still being learnt` : shown;
}
