// A drawn page of a PDF with its span marked, on a canvas.

import { h } from '../lib/dom.js';

/** @typedef {import('../wire.gen.js').SourceMessage} Source */

/** @param {Source} source @param {string} glow the colour of the marks @returns {HTMLCanvasElement} */
export function drawn(source, glow) {
  const { width, height, image, boxes } = source;
  const label = `Page ${source.page} of ${source.card.title || source.card.path}${boxes.length ? ', the passage marked' : ''}`;
  const canvas = h('canvas', { width, height, role: 'img', 'aria-label': label });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const pixels = new Uint8ClampedArray(image); // a copy: ImageData may not stand on a shared buffer
  context.putImageData(new ImageData(pixels, width, height), 0, 0);
  context.globalCompositeOperation = 'multiply';
  context.fillStyle = glow;
  for (const box of boxes) context.fillRect(box.x - 2, box.y - 1, box.width + 4, box.height + 2);
  return canvas;
}
