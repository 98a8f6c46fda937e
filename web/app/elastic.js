// How elastic is it: the parts of the model that can answer, what each costs on this device, and which one the dial gives.

import { fill, h } from '../lib/dom.js';
import { isAbort } from '../lib/errors.js';
import { progress, time } from '../lib/format.js';
import { dial } from './dial.js';
import { percent, plot } from './plot.js';
import { settings } from './settings.js';
import { sheet } from './sheet.js';

/** @typedef {import('../wire.gen.js').LadderMessage} Ladder */
/** @typedef {import('../wire.gen.js').PlannedMessage} Planned */

/** Tokens of the prompt that times are told for: a question with two passages. */
const PROMPT = 256;
/** Of these, the instructions and the question, which are never dropped. */
const FIXED = 64;

/** Two plots stand side by side where there are more pixels than this; so many are between them. */
const NARROW = 440;
const GAP = 20;

/** @param {import('./room.js').Room} room @param {import('./toast.js').Toasts} toasts */
export function elastic(room, toasts) {
  const stop = new AbortController();
  const { signal } = stop;
  const plan = h('p', { class: 'plan', role: 'status' });
  const plots = h('div', { class: 'plots' });
  const table = h('div', {});
  const say = h('p', { class: 'lede', role: 'status' });
  const measure = h(
    'button',
    { type: 'button', class: 'wide', on: { click: () => look(true) } },
    'Measure this device',
  );
  /** @type {Ladder | undefined} */
  let ladder;

  const look = async (/** @type {boolean} */ anew) => {
    measure.disabled = true;
    try {
      ladder = await room.nook.levels({ measure: anew, signal, onProgress: (event) => fill(say, waiting(event)) });
      say.textContent = told(ladder);
      measure.textContent = ladder.measured ? 'Measure again' : 'Measure this device';
    } catch (error) {
      say.textContent = '';
      if (!isAbort(error)) toasts.fail(error);
    }
    measure.disabled = false;
    await choose();
  };

  const choose = async () => {
    if (!ladder?.measured) {
      fill(plan);
      if (ladder) show(ladder, -1);
      return;
    }
    try {
      const planned = await room.nook.plan({ tokens: PROMPT, fixed: FIXED, slo: settings.slo, signal });
      fill(plan, expected(planned));
      show(ladder, planned.where === 'server' ? -1 : planned.level);
    } catch (/** @type {any} */ error) {
      if (isAbort(error)) return;
      fill(plan, h('b', {}, error.message), ` ${error.hint ?? ''}`);
      show(ladder, -1);
    }
  };

  /** Draws them again when there is more room, or less. */
  const watch = new ResizeObserver(() => redraw());
  let redraw = () => {};
  let wide = 0;

  /** @param {Ladder} ladder @param {number} chosen */
  const show = (ladder, chosen) => {
    redraw = () => plots.clientWidth !== wide && draw(ladder, chosen);
    draw(ladder, chosen);
  };

  /** @param {Ladder} ladder @param {number} chosen */
  const draw = ({ levels, measured }, chosen) => {
    wide = plots.clientWidth;
    fill(plots, levels.length > 1 ? drawings(levels, measured, chosen, plots.clientWidth) : null);
    fill(table, figures(levels, measured, chosen));
  };

  const dialog = sheet(
    'How elastic is it',
    h(
      'p',
      { class: 'lede' },
      'One model, several sizes: each is a part of the same weights, so changing between them costs nothing. Of those that are fast enough for the dial, the one that answers best is taken; if none is, you are told.',
    ),
    dial(() => choose()),
    plan,
    plots,
    table,
    say,
    measure,
  );
  watch.observe(plots);
  dialog.addEventListener('close', () => {
    watch.disconnect();
    stop.abort();
  });
  room.ready
    .then(async () => {
      const { models } = await room.nook.status();
      if (models.lm === 'ready') await look(false);
      else {
        measure.textContent = 'Load the model and measure';
        say.textContent = 'The writing model is not loaded yet. It is loaded once, and measured in about two seconds.';
      }
    })
    .catch((error) => !isAbort(error) && toasts.fail(error));
}

/** @param {any} event */
const waiting = (event) =>
  event.type === 'Progress'
    ? [
        progress(event),
        event.total ? h('progress', { max: event.total, value: event.done, 'aria-label': 'Progress' }) : null,
      ]
    : [];

/** @param {Ladder} ladder */
function told({ levels, measured, where }) {
  const place = where === 'tab' ? 'in this tab' : `on the ${where}`;
  const times = measured ? `Measured ${place}, and corrected by every answer.` : 'Not measured here yet.';
  return levels.length > 1 ? times : `This model was built in one size only. ${times}`;
}

/** @param {Planned} planned */
function expected({ where, reason, ratio, kept, first_ms, token_ms }) {
  const part = ratio < 1 ? `${percent(ratio)} of the model` : 'the whole model';
  const whose = where === 'server' ? `${part} on the server` : part;
  const read = kept < PROMPT ? `${kept} of ${PROMPT} tokens` : `all of ${PROMPT} tokens`;
  return [
    h('b', {}, `${whose[0].toUpperCase()}${whose.slice(1)}`),
    ` reads ${read}: first word after about ${time(first_ms)}, then ${rate(token_ms)}`,
    reason ? `; ${reason}.` : '.',
  ];
}

/** @param {number} ms a token */
const rate = (ms) => `${(1000 / ms).toFixed(ms < 100 ? 0 : 1)} tokens a second`;

/** @param {Ladder['levels']} levels @param {boolean} measured @param {number} chosen @param {number} room pixels */
function drawings(levels, measured, chosen, room) {
  const by = (/** @type {(level: Ladder['levels'][0]) => number} */ value) =>
    levels.map((level) => ({ ratio: level.ratio, value: value(level) }));
  const half = room > NARROW ? (room - GAP) / 2 : room;
  const judged = levels.every((level) => level.perplexity);
  const perplexity = {
    chosen,
    width: room,
    log: true,
    write: (/** @type {number} */ value) => value.toFixed(value < 100 ? 1 : 0),
  };
  const times = { chosen, width: half, write: time };
  return [
    judged &&
      plot(
        'Perplexity (less is better)',
        by((level) => level.perplexity ?? 0),
        perplexity,
      ),
    measured &&
      plot(
        `First word after ${PROMPT} tokens`,
        by((level) => level.first_ms),
        times,
      ),
    measured &&
      plot(
        'Each further token',
        by((level) => level.token_ms),
        times,
      ),
  ];
}

/** The same in figures. @param {Ladder['levels']} levels @param {boolean} measured @param {number} chosen */
function figures(levels, measured, chosen) {
  const row = (/** @type {Ladder['levels'][0]} */ level, /** @type {number} */ i) =>
    h(
      'tr',
      i === chosen ? { class: 'chosen', 'aria-current': 'true' } : {},
      h('th', { scope: 'row' }, percent(level.ratio)),
      h('td', {}, level.perplexity ? level.perplexity.toFixed(1) : '–'),
      h('td', {}, measured ? time(level.first_ms) : '–'),
      h('td', {}, measured ? `${level.token_ms.toFixed(1)} ms` : '–'),
    );
  const heads = ['Part', 'Perplexity', 'First word', 'Per token'].map((name) => h('th', { scope: 'col' }, name));
  return h('table', { class: 'levels' }, h('thead', {}, h('tr', {}, heads)), h('tbody', {}, levels.map(row)));
}
