// The drawing of a map: discs, points and labels on a canvas, and what lies where.

import { h } from '../lib/dom.js';
import { COLOURS } from './atlas.js';
import { write } from './labels.js';

/** @typedef {import('./atlas.js').Atlas} Atlas */
/** @typedef {import('./labels.js').Label} Label */

const EDGE = 14; // pixels around the whole map
const CLOSEST = 90; // pixels between two passages at the nearest look
const SPACING = 1.45; // between two passages, in the map's unit
const TITLES = 44; // pixels between two passages from which on titles are shown
const NEAR = 10; // pixels from a point that still mean it
const ROOMY = 34; // pixels: the radius of a disc that has room for more than a word
const LONG = 28; // characters of a title
const SMALL = 1.6; // pixels: the radius of a point that is drawn as a square
const MOST = 120; // titles

export class Chart {
  /** @type {Atlas | undefined} */ atlas;
  /** @type {number} the chosen topic, -1 for none */ topic = -1;
  /** @type {Set<number>} points that a search found */ found = new Set();
  /** @type {number[]} points of the document that is looked at */ marked = [];
  /** @type {number} the point under the pointer */ over = -1;
  /** pixels to a unit, and where the map's origin is */
  #view = { scale: 1, x: 0, y: 0 };
  #least = 1;
  /** what is shown whole, -1 for the map, undefined once somebody moved */
  #whole = /** @type {number | undefined} */ (-1);
  #asked = 0;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    this.probe = h('span', { hidden: true });
    canvas.after(this.probe);
    this.size = { width: 0, height: 0 };
    new ResizeObserver(() => this.#fitted()).observe(canvas);
    const again = () => this.draw();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
    new MutationObserver(again).observe(document.documentElement, { attributeFilter: ['data-theme'] });
  }

  /** @param {Atlas} atlas */
  show(atlas) {
    this.atlas = atlas;
    this.topic = -1;
    this.found = new Set();
    this.marked = [];
    this.over = -1;
    this.fit();
  }

  #fitted() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.size = { width, height };
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    if (this.#whole === undefined) this.#bound();
    else this.fit(this.#whole);
  }

  // ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The whole map, or a topic of it. @param {number} [topic] */
  fit(topic = -1) {
    const { atlas, size } = this;
    if (!atlas || !size.width) return;
    const whole = this.#around(atlas.edges);
    this.#least = whole.scale;
    this.#whole = topic;
    const { x, y, radius } = atlas.topics[topic] ?? { x: 0, y: 0, radius: 0 };
    const wide = radius * 1.5;
    this.#view = topic < 0 ? whole : this.#around([x - wide, y - wide, x + wide, y + wide]);
    this.draw();
  }

  /** The view that shows these edges. @param {number[]} edges */
  #around([left, top, right, bottom]) {
    const { width, height } = this.size;
    const scale = Math.min(
      (width - 2 * EDGE) / (right - left),
      (height - 2 * EDGE) / (bottom - top),
      CLOSEST / SPACING,
    );
    return { scale, x: (width - scale * (left + right)) / 2, y: (height - scale * (top + bottom)) / 2 };
  }

  /** Whether there is something closer to see, or more. @param {number} factor */
  can(factor) {
    const { scale } = this.#view;
    return factor > 1 ? scale < CLOSEST / SPACING : scale > this.#least;
  }

  /** @param {number} factor @param {number} [x] pixels: what stays where it is @param {number} [y] */
  zoom(factor, x = this.size.width / 2, y = this.size.height / 2) {
    const { scale } = this.#view;
    const next = Math.min(Math.max(scale * factor, this.#least), Math.max(CLOSEST / SPACING, this.#least));
    this.pan(0, 0, next / scale, x, y);
  }

  /** @param {number} dx pixels @param {number} dy @param {number} [by] and larger by this @param {number} [x] @param {number} [y] */
  pan(dx, dy, by = 1, x = 0, y = 0) {
    const view = this.#view;
    this.#view = { scale: view.scale * by, x: x + (view.x - x) * by + dx, y: y + (view.y - y) * by + dy };
    this.#whole = undefined;
    this.#bound();
  }

  /** Some of the map stays in sight. */
  #bound() {
    const { atlas, size } = this;
    if (!atlas) return;
    const view = this.#view;
    const [left, top, right, bottom] = atlas.edges;
    const keep = 80;
    view.x = Math.min(Math.max(view.x, keep - right * view.scale), size.width - keep - left * view.scale);
    view.y = Math.min(Math.max(view.y, keep - bottom * view.scale), size.height - keep - top * view.scale);
    this.draw();
  }

  /** Where a point is, in pixels. @param {number} i @returns {[number, number]} */
  at(i) {
    const { scale, x, y } = this.#view;
    const { atlas } = this;
    return atlas ? [atlas.x[i] * scale + x, atlas.y[i] * scale + y] : [0, 0];
  }

  /** What lies at a place: the point, else the topic; -1 for none. @param {number} x @param {number} y @param {number} [near] */
  under(x, y, near = NEAR) {
    const { atlas } = this;
    const view = this.#view;
    const none = { point: -1, topic: -1 };
    if (!atlas) return none;
    const [mx, my] = [(x - view.x) / view.scale, (y - view.y) / view.scale];
    let point = -1;
    let best = (Math.max(near, this.#dot + 3) / view.scale) ** 2;
    for (let i = 0; i < atlas.size; i++) {
      const far = (atlas.x[i] - mx) ** 2 + (atlas.y[i] - my) ** 2;
      if (far < best) [best, point] = [far, i];
    }
    const topic = atlas.topics.findIndex((one) => Math.hypot(one.x - mx, one.y - my) <= one.radius);
    return { point, topic: point < 0 ? topic : atlas.topic[point] };
  }

  // ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────

  get #dot() {
    return Math.min(Math.max(this.#view.scale * 0.5, 1.2), 6.5);
  }

  /** Once a frame, however often it is wanted. */
  draw() {
    cancelAnimationFrame(this.#asked);
    this.#asked = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const { atlas, context, size } = this;
    if (!atlas || !size.width) return;
    const ratio = this.canvas.width / size.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, size.width, size.height);
    const paint = this.#paint();
    const colour = (/** @type {number} */ t) => paint.topics[atlas.colours[t]];
    const { scale, x, y } = this.#view;
    for (const [t, topic] of atlas.topics.entries()) {
      context.beginPath();
      context.arc(topic.x * scale + x, topic.y * scale + y, topic.radius * scale + this.#dot, 0, 2 * Math.PI);
      context.globalAlpha = t === this.topic ? 0.2 : this.topic >= 0 ? 0.05 : 0.1;
      context.fillStyle = colour(t);
      context.fill();
    }
    for (const [t] of atlas.topics.entries()) {
      const away = this.topic >= 0 && t !== this.topic;
      context.globalAlpha = away ? 0.25 : this.found.size || this.marked.length ? 0.4 : 0.9;
      context.fillStyle = colour(t);
      this.#dots(t);
    }
    context.globalAlpha = 1;
    for (const i of this.marked) this.#ring(i, colour(atlas.topic[i]), paint.ink);
    for (const i of this.found) this.#ring(i, paint.ember, paint.paper);
    if (this.over >= 0) this.#ring(this.over, colour(atlas.topic[this.over]), paint.ink);
    write(context, this.#labels(), size, { ink: paint.ink, halo: paint.paper });
  }

  /** All points of a topic that are in sight. @param {number} t */
  #dots(t) {
    const { atlas, context, size } = this;
    if (!atlas) return;
    const { scale, x, y } = this.#view;
    const r = this.#dot;
    const square = r < SMALL; // nobody sees the corners, and circles take three times as long
    const disc = atlas.topics[t];
    const [left, top] = [(disc.x - disc.radius) * scale + x, (disc.y - disc.radius) * scale + y];
    const [right, bottom] = [left + 2 * disc.radius * scale, top + 2 * disc.radius * scale];
    if (right < -r || bottom < -r || left > size.width + r || top > size.height + r) return;
    context.beginPath();
    for (const i of atlas.on[t]) {
      const px = atlas.x[i] * scale + x;
      const py = atlas.y[i] * scale + y;
      if (px < -r || py < -r || px > size.width + r || py > size.height + r) continue;
      if (square) context.rect(px - r, py - r, 2 * r, 2 * r);
      else {
        context.moveTo(px + r, py);
        context.arc(px, py, r, 0, 2 * Math.PI);
      }
    }
    context.fill();
  }

  /** A point that stands out. @param {number} i @param {string} fill @param {string} line */
  #ring(i, fill, line) {
    const { context } = this;
    const [x, y] = this.at(i);
    context.beginPath();
    context.arc(x, y, Math.max(this.#dot * 1.25, 4.5), 0, 2 * Math.PI);
    context.fillStyle = fill;
    context.strokeStyle = line;
    context.lineWidth = 2;
    context.fill();
    context.stroke();
  }

  /** @returns {Label[]} */
  #labels() {
    const { atlas, probe } = this;
    if (!atlas) return [];
    const view = this.#view;
    const style = getComputedStyle(probe);
    const serif = style.getPropertyValue('--serif');
    const sans = style.getPropertyValue('--sans');
    const labels = atlas.topics.map((topic, t) => {
      const [first, ...rest] = atlas.names[t];
      const x = topic.x * view.scale + view.x;
      const y = topic.y * view.scale + view.y;
      const reach = topic.radius * view.scale + this.#dot;
      const small = reach < ROOMY; // only the first word, and nowhere but on its disc
      const line = { text: short(first), font: `600 ${small ? 13 : 16}px ${serif}` };
      const more = { text: rest.map((word) => short(word)).join(', '), font: `12.5px ${sans}` };
      const aside = t === this.topic || view.scale * SPACING > TITLES; // points are looked at: the name makes room
      /** @type {Array<[number, number]>} */
      const places = aside
        ? [
            [x, y - reach - 22],
            [x, y + reach + 12],
          ]
        : [[x, y]];
      return { t, size: topic.points, label: { line, places, more: small || !rest.length ? undefined : more } };
    });
    labels.sort((a, b) => Number(b.t === this.topic) - Number(a.t === this.topic) || b.size - a.size);
    return [...labels.map(({ label }) => label), ...this.#titles(sans)];
  }

  /** Titles where there is room: of what was found, of what is looked at, and of all when it is near. @param {string} sans @returns {Label[]} */
  #titles(sans) {
    const { atlas, size } = this;
    if (!atlas) return [];
    const near = this.#view.scale * SPACING > TITLES;
    const wanted = new Set([...this.marked.slice(0, 1), ...[...this.found].slice(0, 8)]);
    for (let i = 0; near && i < atlas.size && wanted.size < MOST; i++) {
      const [x, y] = this.at(i);
      if (x > 0 && y > 0 && x < size.width && y < size.height) wanted.add(i);
    }
    return [...wanted].map((i) => {
      const [x, y] = this.at(i);
      const text = short(atlas.title(i), LONG);
      const gap = this.#dot + 5;
      return { line: { text, font: `12px ${sans}` }, places: [[x + gap, y]], beside: true };
    });
  }

  /** The colours of the page as it is now. */
  #paint() {
    const { probe } = this;
    const read = (/** @type {string} */ name) => {
      probe.className = name;
      return getComputedStyle(probe).color;
    };
    const topics = Array.from({ length: COLOURS }, (_, n) => read(`topic-${n}`));
    return { topics, ink: read('map-ink'), paper: read('map-paper'), ember: read('map-ember') };
  }
}

/** @param {string} text @param {number} [most] */
const short = (text, most = 24) => (text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text);
