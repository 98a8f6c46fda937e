// Words on a drawing that do not cover one another: those that come first have their place.

/** @typedef {{ text: string, font: string }} Line */

/**
 * @typedef {object} Label
 * @property {Line} line
 * @property {Line} [more] below it, once every label had its turn and where there is room then
 * @property {Array<[number, number]>} places of its middle, the best first; of its beginning with `beside`
 * @property {boolean} [beside]
 */

const LINE = 1.25;

/**
 * Write as many labels as there is room for. @param {CanvasRenderingContext2D} context
 * @param {Label[]} labels the most important first @param {{ width: number, height: number }} size
 * @param {{ ink: string, halo: string }} colours
 */
export function write(context, labels, { width, height }, { ink, halo }) {
  /** @type {Array<[number, number, number, number]>} left, top, right, bottom */
  const taken = [];
  context.save();
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 4;
  context.strokeStyle = halo;
  context.fillStyle = ink;

  /** Whether there was room. @param {Line} line @param {number} x @param {number} y @param {boolean} beside */
  const put = ({ text, font }, x, y, beside) => {
    context.font = font;
    const wide = context.measureText(text).width;
    const high = pixels(font) * LINE;
    const left = beside ? x : x - wide / 2;
    const [top, right, bottom] = [y - high / 2, left + wide, y + high / 2];
    if (left < 4 || top < 4 || right > width - 4 || bottom > height - 4) return false;
    if (taken.some((one) => left < one[2] && one[0] < right && top < one[3] && one[1] < bottom)) return false;
    taken.push([left - 4, top, right + 4, bottom]);
    context.textAlign = 'left';
    context.strokeText(text, left, y);
    context.fillText(text, left, y);
    return true;
  };

  const below = [];
  for (const { line, more, places, beside = false } of labels) {
    const place = places.find(([x, y]) => put(line, x, y, beside));
    if (place && more)
      below.push({ more, x: place[0], y: place[1] + (pixels(line.font) + pixels(more.font)) * (LINE / 2) + 0.5 });
  }
  for (const { more, x, y } of below) put(more, x, y, false);
  context.restore();
}

/** @param {string} font */
const pixels = (font) => Number.parseFloat(/[\d.]+(?=px)/.exec(font)?.[0] ?? '13');
