// The sheet a map is drawn on: its canvas, the buttons on it, and what a point tells when it is pointed at.

import { h, icon } from '../lib/dom.js';
import { latest } from '../lib/latest.js';
import { units } from '../lib/text.js';
import { Chart } from './chart.js';
import { gestures } from './gestures.js';

/** Characters of a passage that a point shows. */
const GLIMPSE = 220;
/** Pixels from a point that a finger still means, and how much a button zooms. */
const FINGER = 20;
const NEARER = 1.6;
const KEYS = 'Map: arrow keys move it, plus and minus zoom, zero shows all. The topics stand in the list beside it.';

export class Paper {
  /**
   * @param {import('./room.js').Room} room
   * @param {{ choose: (topic: number) => void, open: (point: number) => void }} acts a topic, -1 for all
   */
  constructor(room, acts) {
    this.acts = acts;
    this.canvas = h('canvas', { class: 'map-canvas', tabIndex: 0, role: 'application', 'aria-label': KEYS });
    this.tip = h('div', { class: 'map-tip', hidden: true, 'aria-hidden': 'true' });
    this.element = h('div', { class: 'map-sheet' }, this.canvas, this.tip);
    this.chart = new Chart(this.canvas);
    const { chart } = this;
    const button = (
      /** @type {Parameters<typeof icon>[0]} */ name,
      /** @type {string} */ label,
      /** @type {() => void} */ click,
    ) => h('button', { type: 'button', class: 'plain', title: label, 'aria-label': label, on: { click } }, icon(name));
    this.element.append(
      h(
        'div',
        { class: 'map-zoom' },
        button('plus', 'Nearer', () => chart.zoom(NEARER)),
        button('minus', 'Farther', () => chart.zoom(1 / NEARER)),
        button('whole', 'The whole map', () => chart.fit()),
      ),
    );
    gestures(this.canvas, {
      pan: (dx, dy) => {
        this.point(-1);
        chart.pan(dx, dy);
      },
      zoom: (factor, x, y) => {
        this.point(-1);
        chart.zoom(factor, x, y);
      },
      can: (factor) => chart.can(factor),
      fit: () => chart.fit(),
      hover: (x, y) => this.#hover(x, y),
      leave: () => this.point(-1),
      click: (x, y, touch) => this.#click(x, y, touch),
    });
    this.#glimpse = latest(
      async (/** @type {{ atlas: import('./atlas.js').Atlas, i: number }} */ { atlas, i }) => {
        const { document, start, end } = atlas.passage(i);
        return room.nook.show(document, { start, end, width: 0 });
      },
      (source, { atlas, i }) => atlas === chart.atlas && i === chart.over && this.#tell(i, begun(source)),
      () => {}, // the title stays
    );
  }

  #glimpse;

  /** @param {number} x @param {number} y */
  #hover(x, y) {
    const { point, topic } = this.chart.under(x, y);
    this.canvas.style.cursor = point >= 0 || topic >= 0 ? 'pointer' : '';
    this.point(point);
  }

  /** @param {number} x @param {number} y @param {boolean} touch */
  #click(x, y, touch) {
    const { chart, acts } = this;
    const { point, topic } = chart.under(x, y, touch ? FINGER : undefined);
    if (point >= 0 && touch && point !== chart.over)
      this.point(point); // the first touch tells, the second opens
    else if (point >= 0) acts.open(point);
    else if (topic >= 0 && topic !== chart.topic) acts.choose(topic);
    else if (topic < 0 && chart.topic >= 0) acts.choose(-1);
    else this.point(-1);
  }

  /** Point at a passage. @param {number} i -1 for none */
  point(i) {
    const { chart } = this;
    const { atlas } = chart;
    if (i === chart.over || !atlas) return;
    chart.over = i;
    chart.draw();
    this.tip.hidden = i < 0;
    if (i < 0) return;
    this.#tell(i);
    this.#glimpse({ atlas, i });
  }

  /** @param {number} i @param {string} [said] */
  #tell(i, said) {
    const { tip, chart } = this;
    const text = said && h('p', { dir: 'auto' }, said);
    tip.replaceChildren(h('b', {}, chart.atlas?.title(i) ?? ''), ...(text ? [text] : []));
    const [x, y] = chart.at(i);
    const { offsetWidth: wide, offsetHeight: high } = tip;
    const { width, height } = chart.size;
    const left = x + 14 + wide > width ? x - 14 - wide : x + 14;
    tip.style.left = `${Math.max(4, Math.min(left, width - wide - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(y - high / 2, height - high - 4))}px`;
  }
}

/** How a passage begins. @param {import('../wire.gen.js').SourceMessage} source */
function begun({ text, offset, start, end }) {
  const at = units(text);
  const from = at(start - offset);
  const said = text.slice(from, at(Math.max(end, start + GLIMPSE) - offset));
  const plain = said.replace(/\s+/g, ' ').trim();
  return plain.length > GLIMPSE ? `${plain.slice(0, GLIMPSE).replace(/\s\S*$/, '')} …` : plain;
}
