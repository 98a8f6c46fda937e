// Numbers as people read them.

const SIZES = ['B', 'kB', 'MB', 'GB'];

/** @param {number} bytes */
export function size(bytes) {
  let i = 0;
  for (; bytes >= 1000 && i < SIZES.length - 1; i++) bytes /= 1000;
  return `${bytes >= 100 || i === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${SIZES[i]}`;
}

/** @param {number} ms milliseconds */
export function time(ms) {
  if (ms < 1) return '<1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60000
    ? `${(ms / 1000).toFixed(1)} s`
    : `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
}

/** @param {number} n @param {string} one @param {string} [many] */
export const count = (n, one, many = `${one}s`) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

const DAY = new Intl.DateTimeFormat('en', { year: 'numeric', month: 'short', day: 'numeric' });

/** @param {number} seconds since 1970 */
export const date = (seconds) => (seconds ? DAY.format(seconds * 1000) : '');

/** Work that people wait for, in their words. @param {{ stage: string, done: number, total: number, unit: string, note: string }} progress */
export function progress({ stage, done, total, unit, note }) {
  if (stage === 'boot') return note || 'Lighting the fire';
  if (stage === 'open') return 'Opening your library';
  if (stage === 'queue')
    return total ? `Waiting for ${count(total, 'answer')} before this one` : 'Waiting for its turn';
  const what = stage === 'load' ? (MODELS[note] ?? note) : '';
  const verb = [STAGES[stage] ?? stage, what].filter(Boolean).join(' ');
  return [verb, what ? '' : note, amount(done, total, unit)].filter(Boolean).join(' · ');
}

/** "40 of 97 MB", "3 of 12 passages". @param {number} done @param {number} total @param {string} unit */
function amount(done, total, unit) {
  if (!total && !done) return '';
  if (/^bytes?$/.test(unit)) {
    if (!total) return size(done);
    const mega = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(total < 10e6 ? 1 : 0);
    return total < 1e6 ? `${size(done)} of ${size(total)}` : `${mega(done)} of ${mega(total)} MB`;
  }
  const whole = (/** @type {number} */ n) => Math.round(n).toLocaleString('en');
  const units = unit && total !== 1 && !unit.endsWith('s') ? `${unit}s` : unit;
  return `${total ? `${whole(done)} of ${whole(total)}` : whole(done)} ${units}`.trim();
}

/** @type {Record<string, string>} */
const STAGES = {
  download: 'Fetching',
  read: 'Reading',
  embed: 'Learning the meaning',
  store: 'Storing',
  index: 'Sorting the index',
  load: 'Loading',
  map: 'Drawing the map',
  import: 'Unpacking',
  export: 'Packing',
  prefill: 'Reading the passages',
  measure: 'Measuring this device',
};

/** @type {Record<string, string>} */
const MODELS = {
  lm: 'the writing model',
  encoder: 'the model of meaning',
  pdf: 'the PDF reader',
  science: 'scikit-learn',
};
