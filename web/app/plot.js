// A small plot of one figure by the share of the model: dots, the line through them, and each dot's value beside it.

import { svg } from '../lib/dom.js';

const HIGH = 132;
/** Room around the dots: for the values above and beside them, and for the shares below. */
const SIDE = 24;
const TOP = 38;
const BOTTOM = HIGH - 26;

/**
 * @param {string} title what is drawn, with its unit
 * @param {Array<{ ratio: number, value: number }>} points
 * @param {{ chosen: number, width: number, write: (value: number) => string, log?: boolean }} how `chosen` is the dot
 *   that stands out, `width` in pixels
 * @returns {SVGElement}
 */
export function plot(title, points, { chosen, width, write, log = false }) {
  const height = (/** @type {number} */ value) => (log ? Math.log(value) : value);
  const values = points.map(({ value }) => height(value));
  const [low, high] = [log ? Math.min(...values) : 0, Math.max(...values)];
  const least = Math.min(...points.map(({ ratio }) => ratio));
  const x = (/** @type {number} */ ratio) => SIDE + ((ratio - least) / (1 - least || 1)) * (width - 2 * SIDE);
  const y = (/** @type {number} */ value) => BOTTOM - ((height(value) - low) / (high - low || 1)) * (BOTTOM - TOP);
  const dots = points.map(({ ratio, value }) => `${x(ratio).toFixed(1)},${y(value).toFixed(1)}`);
  const said = points.map(({ ratio, value }) => `${percent(ratio)}: ${write(value)}`).join(', ');
  const label = (
    /** @type {number} */ at,
    /** @type {number} */ up,
    /** @type {string} */ text,
    /** @type {string} */ kind,
  ) => svg('text', { x: at, y: up, 'text-anchor': 'middle', class: kind }, text);
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
    points.flatMap(({ ratio, value }, i) => {
      const kind = i === chosen ? 'chosen' : '';
      return [
        svg('circle', { cx: x(ratio), cy: y(value), r: i === chosen ? 5 : 3.5, class: `plot-dot ${kind}` }),
        label(x(ratio), y(value) - 9, write(value), `plot-value ${kind}`),
        label(x(ratio), HIGH - 4, percent(ratio), `plot-share ${kind}`),
      ];
    }),
  );
}

/** @param {number} ratio */
export const percent = (ratio) => `${Math.round(100 * ratio)} %`;
