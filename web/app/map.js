// The map of the library: topics beside one another, passages as points on them; the list beside it says the same.

import { sourceLink } from '../elements/hits.js';
import { fill, h, icon } from '../lib/dom.js';
import { explain, isAbort } from '../lib/errors.js';
import { count, progress } from '../lib/format.js';
import { latest } from '../lib/latest.js';
import { units } from '../lib/text.js';
import { Atlas } from './atlas.js';
import { Chart } from './chart.js';
import { gestures } from './gestures.js';
import { settings } from './settings.js';

/** Passages of a search that are shown on the map. */
const HITS = 40;
/** Characters of a passage that a point shows. */
const GLIMPSE = 220;

export class Map2D {
  /** @type {Atlas | undefined} */ #atlas;
  #stop = new AbortController();
  #busy = false;
  /** what the library was when the map was made */
  #drawn = '';
  /** @type {(open: boolean) => void} */ onturn = () => {};

  /**
   * @param {HTMLElement} element @param {import('./room.js').Room} room
   * @param {{ viewer: import('./viewer.js').Viewer, question: HTMLElement }} parts
   */
  constructor(element, room, { viewer, question }) {
    this.element = element;
    this.room = room;
    this.viewer = viewer;
    this.question = question;
    const button = (
      /** @type {Parameters<typeof icon>[0]} */ name,
      /** @type {string} */ label,
      /** @type {() => void} */ act,
    ) =>
      h(
        'button',
        { type: 'button', class: 'plain', title: label, 'aria-label': label, on: { click: act } },
        icon(name),
      );
    this.title = h('h2', { tabIndex: -1 }, 'Map of the library');
    this.facts = h('p', { class: 'facts', role: 'status' });
    this.halt = h(
      'button',
      { type: 'button', class: 'small', on: { click: () => this.#stop.abort() } },
      icon('stop'),
      'Stop',
    );
    this.again = h('button', { type: 'button', class: 'small', on: { click: () => this.make() } }, 'Draw anew');
    this.canvas = h('canvas', {
      class: 'map-canvas',
      tabIndex: 0,
      role: 'application',
      'aria-label':
        'Map: arrow keys move it, plus and minus zoom, zero shows all. The topics stand in the list beside it.',
    });
    this.tip = h('div', { class: 'map-tip', hidden: true, 'aria-hidden': 'true' });
    this.side = h('div', { class: 'map-side' });
    const sheet = h('div', { class: 'map-sheet' }, this.canvas, this.tip);
    this.chart = new Chart(this.canvas);
    sheet.append(
      h(
        'div',
        { class: 'map-zoom' },
        button('plus', 'Nearer', () => this.chart.zoom(1.6)),
        button('minus', 'Farther', () => this.chart.zoom(1 / 1.6)),
        button('whole', 'The whole map', () => this.chart.fit()),
      ),
    );
    fill(
      element,
      h(
        'header',
        {},
        this.title,
        this.facts,
        this.halt,
        this.again,
        button('close', 'Close the map', () => this.close()),
      ),
      h('div', { class: 'map-body' }, sheet, this.side),
    );
    const { chart } = this;
    gestures(this.canvas, {
      pan: (dx, dy) => chart.pan(dx, dy),
      zoom: (factor, x, y) => chart.zoom(factor, x, y),
      can: (factor) => chart.can(factor),
      fit: () => chart.fit(),
      hover: (x, y) => this.#hover(x, y),
      leave: () => this.#over(-1),
      click: (x, y, touch) => this.#click(x, y, touch),
    });
    this.#glimpse = latest(
      async (/** @type {number} */ i) => {
        const atlas = /** @type {Atlas} */ (this.#atlas);
        const { id } = atlas.documents[atlas.document[i]];
        return room.nook.show(id, { start: atlas.start[i], end: atlas.end[i], width: 0 });
      },
      (source, i) => i === this.chart.over && this.#tell(i, source),
      () => {}, // the title stays
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

  #glimpse;
  #light;

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

  /** What the library is: a map of another is another. */
  #state() {
    return `${this.room.place} ${this.room.cards.map((card) => `${card.document} ${card.added} ${card.vectors}`)}`;
  }

  #changed() {
    if (this.#busy || this.#drawn === this.#state()) return;
    const learnt = this.room.cards.every((card) => card.vectors === card.chunks);
    if (this.#atlas?.by === 'place' && learnt) this.make();
    else this.#said();
  }

  // ── making ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async make() {
    this.#stop.abort();
    const stop = new AbortController();
    this.#stop = stop;
    this.#busy = true;
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
    if (how) this.#drawn = '';
    this.#said(how);
    if (!how) this.#changed(); // something may have come while it was made
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
    this.chart.show(atlas);
    this.#over(-1);
    this.#topics();
    if (this.room.asked.query) this.#light(this.room.asked.query);
  }

  // ── the list ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** All topics, the largest first. @param {number} [back] the one the focus goes back to */
  #topics(back = -1) {
    const atlas = this.#atlas;
    if (!atlas) return;
    const thing = atlas.by === 'place' ? 'document' : 'passage';
    const items = atlas.topics.map((topic, t) =>
      h(
        'li',
        {},
        h(
          'button',
          { type: 'button', class: 'map-topic', on: { click: () => this.choose(t) } },
          h('i', { class: `swatch topic-${atlas.colours[t]}` }),
          h('span', {}, atlas.names[t].join(', ')),
          h('small', {}, topic.points.toLocaleString('en'), h('span', { class: 'unseen' }, ` ${thing}s`)),
        ),
      ),
    );
    const empty = h('p', { class: 'empty' }, 'Your library is empty. Drop files anywhere on this page to begin.');
    fill(
      this.side,
      h('h3', {}, atlas.by === 'place' ? 'Folders' : 'Topics'),
      items.length ? h('ol', { class: 'map-list' }, items) : empty,
    );
    if (back >= 0) items[back]?.querySelector('button')?.focus();
  }

  /** A topic: what it is about, and its documents. @param {number} t */
  choose(t) {
    const atlas = this.#atlas;
    if (!atlas) return;
    const topic = atlas.topics[t];
    this.chart.topic = t;
    this.chart.marked = [];
    this.chart.fit(t);
    const documents = atlas.inside(t);
    const back = h(
      'button',
      { type: 'button', class: 'small', on: { click: () => this.#back(t) } },
      icon('left'),
      atlas.by === 'place' ? 'All folders' : 'All topics',
    );
    const title = h('h3', { tabIndex: -1 }, atlas.names[t].join(', '));
    const facts =
      atlas.by === 'place'
        ? count(documents.length, 'document')
        : `${count(topic.points, 'passage')} in ${count(documents.length, 'document')}`;
    fill(
      this.side,
      back,
      h('div', { class: 'map-head' }, h('i', { class: `swatch topic-${atlas.colours[t]}` }), title),
      h('p', { class: 'fine' }, facts),
      topic.quote && h('blockquote', { dir: 'auto' }, topic.quote),
      h(
        'ul',
        { class: 'map-list' },
        documents.map((one) => h('li', {}, this.#document(one))),
      ),
    );
    title.focus({ preventScroll: true });
  }

  /** @param {number} t */
  #back(t) {
    this.chart.topic = -1;
    this.chart.marked = [];
    this.chart.fit();
    this.#topics(t);
  }

  /** @param {{ title: string, points: number[] }} document */
  #document({ title, points }) {
    const atlas = /** @type {Atlas} */ (this.#atlas);
    const mark = (/** @type {number[]} */ marked) => {
      this.chart.marked = marked;
      this.chart.draw();
    };
    const { document, start, end } = this.#place(points[0]);
    const many = h('small', {}, String(points.length), h('span', { class: 'unseen' }, ' passages'));
    const hit = /** @type {any} */ ({ document });
    const link = sourceLink(
      this.viewer.leads,
      hit,
      start,
      end,
      { class: 'map-topic' },
      h('span', {}, title),
      atlas.by === 'meaning' && many,
    );
    for (const type of ['pointerenter', 'focus']) link.addEventListener(type, () => mark(points));
    for (const type of ['pointerleave', 'blur']) link.addEventListener(type, () => mark([]));
    return link;
  }

  // ── the points ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param {number} i */
  #place(i) {
    const atlas = /** @type {Atlas} */ (this.#atlas);
    return { document: atlas.documents[atlas.document[i]].id, start: atlas.start[i], end: atlas.end[i] };
  }

  /** @param {number} i */
  #open(i) {
    const { document, start, end } = this.#place(i);
    this.viewer.visit(document, start, end);
  }

  /** @param {number} x @param {number} y */
  #hover(x, y) {
    const { point, topic } = this.chart.under(x, y);
    this.canvas.style.cursor = point >= 0 || topic >= 0 ? 'pointer' : '';
    this.#over(point);
  }

  /** @param {number} x @param {number} y @param {boolean} touch */
  #click(x, y, touch) {
    const { point, topic } = this.chart.under(x, y, touch ? 20 : undefined);
    if (point >= 0 && touch && point !== this.chart.over)
      this.#over(point); // the first touch tells, the second opens
    else if (point >= 0) this.#open(point);
    else if (topic >= 0 && topic !== this.chart.topic) this.choose(topic);
    else if (topic < 0 && this.chart.topic >= 0) this.#back(this.chart.topic);
    else this.#over(-1);
  }

  /** The point that is pointed at. @param {number} i */
  #over(i) {
    if (i === this.chart.over) return;
    this.chart.over = i;
    this.chart.draw();
    this.tip.hidden = i < 0;
    if (i < 0) return;
    this.#tell(i);
    this.#glimpse(i);
  }

  /** @param {number} i @param {import('../wire.gen.js').SourceMessage} [source] */
  #tell(i, source) {
    const atlas = /** @type {Atlas} */ (this.#atlas);
    const { title } = atlas.documents[atlas.document[i]];
    fill(this.tip, h('b', {}, title), source && h('p', { dir: 'auto' }, glimpse(source, atlas.end[i])));
    const [x, y] = this.chart.at(i);
    const { offsetWidth: wide, offsetHeight: high } = this.tip;
    const { width, height } = this.chart.size;
    const left = x + 14 + wide > width ? x - 14 - wide : x + 14;
    this.tip.style.left = `${Math.max(4, Math.min(left, width - wide - 4))}px`;
    this.tip.style.top = `${Math.max(4, Math.min(y - high / 2, height - high - 4))}px`;
  }

  /** What a search found, on the map. @param {import('../wire.gen.js').Hit[]} hits */
  #lit(hits) {
    const points = hits.map(({ document, chunk }) => this.#atlas?.find(document, chunk) ?? -1);
    this.chart.found = new Set(points.filter((i) => i >= 0));
    this.chart.draw();
  }
}

/** What a map shows. @param {Atlas} atlas */
function summary({ by, size, passages, topics, waiting }) {
  const all =
    size < passages - waiting
      ? `${size.toLocaleString('en')} of ${count(passages, 'passage')}`
      : count(size, 'passage');
  const shown = by === 'place' ? `${count(size, 'document')} by folder` : `${all} in ${count(topics.length, 'topic')}`;
  return waiting ? `${shown} · ${count(waiting, 'passage')} still being learnt` : shown;
}

/** How a passage begins. @param {import('../wire.gen.js').SourceMessage} source @param {number} end */
function glimpse({ text, offset, start }, end) {
  const at = units(text);
  const said = text
    .slice(at(start - offset), at(Math.max(end, start + GLIMPSE) - offset))
    .replace(/\s+/g, ' ')
    .trim();
  return said.length > GLIMPSE ? `${said.slice(0, GLIMPSE).replace(/\s\S*$/, '')} …` : said;
}
