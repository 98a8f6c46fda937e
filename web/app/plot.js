// A small plot of one figure by the share of the model: dots, the line through them, and values where they have room.

import { svg } from '../lib/dom.js';

const HIGH = 132;
/** Room around the dots: for the values above and beside them, and for the shares below. */
const SIDE = 24;
const TOP = 38;
const BOTTOM = HIGH - 26;
/** Pixels that a label of 11 takes: a character of it, its line, and the least between two. */
const CHARACTER = 6.4;
const LINE = 12;
const APART = 6;

/** @typedef {{ x: number, y: number, text: string, kind: string }} Label */

/**
 * @param {string} title what is drawn, with its unit
 * @param {Array<{ ratio: number, value: number }>} points
 * @param {{ chosen: number, width: number, write: (value: number) => string, log?: boolean }} how `chosen` is the dot
 *   that stands out, `width` in pixels
 * @returns {SVGElement}
 */
export function plot(title, points, { chosen, width, write, log = false }) {
  const height = (/** @type {number} */ value) => (log ? Math.log(value) : value);
  const heights = points.map(({ value }) => height(value));
  const [low, high] = [log ? Math.min(...heights) : 0, Math.max(...heights)];
  const least = Math.min(...points.map(({ ratio }) => ratio));
  const x = (/** @type {number} */ ratio) => SIDE + ((ratio - least) / (1 - least || 1)) * (width - 2 * SIDE);
  const y = (/** @type {number} */ value) => BOTTOM - ((height(value) - low) / (high - low || 1)) * (BOTTOM - TOP);
  const dots = points.map(({ ratio, value }) => `${x(ratio).toFixed(1)},${y(value).toFixed(1)}`);
  const said = points.map(({ ratio, value }) => `${percent(ratio)}: ${write(value)}`).join(', ');
  const kind = (/** @type {number} */ i) => (i === chosen ? 'chosen' : '');
  const values = points.map(({ ratio, value }, i) => ({
    x: x(ratio),
    y: y(value) - 9,
    text: write(value),
    kind: `plot-value ${kind(i)}`,
  }));
  const shares = points.map(({ ratio }, i) => ({
    x: x(ratio),
    y: HIGH - 4,
    text: percent(ratio),
    kind: `plot-share ${kind(i)}`,
  }));
  return svg(
    'svg',
    {
      viewBox: `0 0 ${width} ${HIGH}`,
      role: 'img',
      'aria-label': `${title} by share of the model. ${said}`,
      class: 'plot',
      width,
    },
    svg('text', { x: 0, y: 11, class: 'plot-title' }, title),
    svg('line', { x1: 0, x2: width, y1: BOTTOM + 8, y2: BOTTOM + 8, class: 'plot-axis' }),
    svg('polyline', { points: dots.join(' '), class: 'plot-line' }),
    points.map(({ ratio, value }, i) =>
      svg('circle', { cx: x(ratio), cy: y(value), r: i === chosen ? 5 : 3.5, class: `plot-dot ${kind(i)}` }),
    ),
    [...roomy(values, chosen), ...roomy(shares, chosen)].map(({ x, y, text, kind }) =>
      svg('text', { x, y, 'text-anchor': 'middle', class: kind }, text),
    ),
  );
}

/** Of some labels those that touch no other: the chosen one before all, then the outer ones. @param {Label[]} labels @param {number} chosen */
export function roomy(labels, chosen) {
  /** @type {Set<Label>} */ const kept = new Set();
  for (const one of [labels[chosen], labels.at(-1), ...labels]) {
    if (one && ![...kept].some((other) => other !== one && touch(one, other))) kept.add(one);
  }
  return [...kept];
}

/** @param {Label} a @param {Label} b */
const touch = (a, b) =>
  Math.abs(a.y - b.y) < LINE && Math.abs(a.x - b.x) < (CHARACTER * (a.text.length + b.text.length)) / 2 + APART;

/** @param {number} ratio */
export const percent = (ratio) => `${Math.round(100 * ratio)} %`;
