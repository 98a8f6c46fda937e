// Where the time of an answer went, and whether the latency asked for was met.

import { h } from '../lib/dom.js';
import { count, time } from '../lib/format.js';

/** @typedef {import('../wire.gen.js').TimingMessage} Timing */

/** @param {Timing} t @returns {HTMLElement} */
export function timing(t) {
  /** @type {Array<[string, number]>} */
  const stages = [
    ['search', t.search_ms],
    ['load', t.load_ms],
    ['prefill', t.prefill_ms],
    ['decode', t.decode_ms],
  ];
  const total = stages.reduce((sum, [, ms]) => sum + ms, 0) || 1;
  const shown = stages.filter(([name, ms]) => ms > 0 || name === 'search');
  const bar = shown.map(([name, ms]) => {
    const segment = h('i', { class: `bar-${name}` });
    segment.style.flexGrow = String(Math.max(ms / total, 0.004));
    return segment;
  });
  const rate = t.decode_ms > 0 && t.tokens > 1 ? `${((t.tokens * 1000) / t.decode_ms).toFixed(1)} tokens/s` : '';
  const place = t.where === 'tab' ? 'answered in this tab' : `answered by the ${t.where}`;
  const facts = [
    t.tokens ? `first word after ${time(t.first_ms)}` : '',
    rate,
    t.prompt_tokens ? count(t.prompt_tokens, 'prompt token') : '',
    place,
  ];
  const met =
    t.met === null || t.met === undefined
      ? null
      : h('span', { class: t.met ? 'met' : 'missed' }, t.met ? 'latency met' : 'latency missed');
  return h(
    'details',
    { class: 'timing' },
    h(
      'summary',
      {},
      h('span', { class: 'bar', 'aria-hidden': 'true' }, bar),
      h('span', {}, time(total)),
      met,
      h('span', { class: 'where' }, place),
    ),
    h(
      'dl',
      {},
      shown.map(([name, ms]) => h('div', { class: `of-${name}` }, h('dt', {}, name), h('dd', {}, time(ms)))),
    ),
    h('p', {}, facts.filter(Boolean).join(' · ')),
  );
}
