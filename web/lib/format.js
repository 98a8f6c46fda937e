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

/** @param {number} seconds since 1970 */
export function date(seconds) {
  return seconds
    ? new Date(seconds * 1000).toLocaleDateString('en', { year: 'numeric', month: 'short', day: 'numeric' })
    : '';
}

/** @param {{ stage: string, done: number, total: number, unit: string, note: string }} progress */
export function progress({ stage, done, total, unit, note }) {
  const verb = STAGES[/** @type {keyof typeof STAGES} */ (stage)] ?? stage;
  const of = (/** @type {(n: number) => string} */ show) => (total ? `${show(done)} of ${show(total)}` : show(done));
  if (stage === 'boot') return note || 'Lighting the fire';
  const amount = /^bytes?$/.test(unit)
    ? of(size)
    : total || done
      ? `${of((n) => Math.round(n).toLocaleString('en'))} ${unit && total !== 1 && !unit.endsWith('s') ? `${unit}s` : unit}`
      : '';
  return [verb, note, amount].filter(Boolean).join(' · ');
}

const STAGES = {
  download: 'Fetching',
  read: 'Reading',
  embed: 'Learning the meaning',
  store: 'Storing',
  load: 'Loading',
  import: 'Unpacking',
  export: 'Packing',
  prefill: 'Reading the passages',
};
