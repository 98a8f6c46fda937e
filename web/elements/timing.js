// Where the time of an answer went, and whether the latency asked for was met.

import { h } from '../lib/dom.js';
import { count, time } from '../lib/format.js';

/** @typedef {import('../wire.gen.js').TimingMessage} Timing */

/** @param {Timing} t @param {string} [reason] why it was answered there @returns {HTMLElement} */
export function timing(t, reason = '') {
  /** @type {Array<[string, number]>} */
  const stages = [
    ['search', t.search_ms],
    ['load', t.load_ms],
    ['queue', t.queue_ms ?? 0],
    ['network', t.away_ms ?? 0],
    ['squeeze', t.squeeze_ms ?? 0],
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
  const part = t.ratio < 1 ? `${Math.round(100 * t.ratio)} % of the model` : 'the whole model';
  const read =
    t.whole_tokens > t.prompt_tokens
      ? `${t.prompt_tokens} of ${count(t.whole_tokens, 'prompt token')} kept`
      : t.prompt_tokens && `all ${count(t.prompt_tokens, 'prompt token')} kept`;
  const facts = [t.tokens && `first word after ${time(t.first_ms)}`, rate, wish(t.slo), read];
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
      t.tokens ? h('span', {}, part) : null,
      h('span', { class: 'where' }, reason ? `${place}: ${reason}` : place),
    ),
    h(
      'dl',
      {},
      shown.map(([name, ms]) => h('div', { class: `of-${name}` }, h('dt', {}, name), h('dd', {}, time(ms)))),
    ),
    h('p', {}, facts.filter(Boolean).join(' · ')),
  );
}

/** The latency asked for, in words. @param {Timing['slo'] | undefined} slo */
function wish(slo) {
  const asked = [slo?.first && `${time(slo.first)} to the first word`, slo?.token && `${time(slo.token)} a token`];
  const words = asked.filter(Boolean).join(', ');
  return words && `asked for ${words}`;
}
