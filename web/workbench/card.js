// One run: how far it is, what it found so far, Stop, and its report.

import { download, fill, h, icon } from '../lib/dom.js';
import { explain, isAbort } from '../lib/errors.js';
import { count, time } from '../lib/format.js';
import { passage } from './passage.js';
import { badge, table } from './tables.js';

/** How often how far it is gets written down while it runs, in milliseconds. */
const NOTE = 5000;

/** @typedef {import('./runs.js').Run} Run */
/** @typedef {{ element: HTMLElement, hear(event: any, told: any): void | Promise<void> }} Live what a kind of run shows while it goes on */

const STATES = { running: 'running', stopped: 'stopped', done: 'done', failed: 'broke off' };

export class Card {
  #stop = new AbortController();
  #noted = 0;
  /** @type {Array<string | number>} how many were kept before, and failed */ #counts = [];
  #state = h('span', { class: 'run-state' });
  #far = h('p', { class: 'run-far', role: 'status' });
  #bar = h('progress', { hidden: true });
  #live = h('div', {});
  #acts = h('div', { class: 'pair' });
  #body = h('details', { class: 'run-report', open: true, hidden: true });

  /**
   * @param {Run} run
   * @param {{ bench: import('./bench.js').Bench, runs: import('./runs.js').Runs, live: () => Live,
   *   secret: (told: any) => object | Promise<object>, use: (prompt: string) => void, hard: boolean, changed: () => void }} how
   */
  constructor(run, how) {
    this.run = run;
    this.how = how;
    this.live = how.live();
    this.#live.append(this.live.element);
    this.element = h(
      'li',
      { class: 'run' },
      h('div', { class: 'run-head' }, h('h3', {}, run.title), this.#state),
      this.#bar,
      this.#far,
      this.#live,
      this.#acts,
      this.#body,
    );
    this.#shown();
    this.#said();
  }

  /** Begin, or go on: what was answered before is found and not asked again. */
  async start() {
    const { run, how } = this;
    const { state, why } = run;
    Object.assign(run, { state: 'running', why: undefined }); // at once: nobody presses the button twice
    this.#stop = new AbortController();
    this.#shown();
    const release = await how.runs.store.lock(`run/${run.id}`, false).granted;
    if (!release) {
      Object.assign(run, { state, why });
      this.#shown();
      this.#far.textContent = 'It is running in another tab.';
      return;
    }
    const began = performance.now();
    try {
      await how.runs.save(run);
      const told = { ...run.told, ...(await how.secret(run.told)) };
      for await (const event of how.bench.run(run.job, told, { signal: this.#stop.signal, hard: how.hard })) {
        if (event.type === 'Report') run.report = event;
        else if (event.type === 'Progress') this.#progress(event, performance.now() - began);
        else await this.live.hear(event, told);
        if (performance.now() - this.#noted > NOTE) {
          this.#noted = performance.now();
          await how.runs.save(run);
        }
      }
      run.state = 'done';
    } catch (error) {
      const { message, hint } = explain(error);
      run.state = isAbort(error) ? 'stopped' : 'failed';
      run.why = isAbort(error) ? undefined : `${message} ${hint}`.trim();
    }
    release();
    await how.runs.save(run).catch((error) => {
      run.why = explain(error).message;
    });
    this.#shown();
    this.#said();
    how.changed();
  }

  /** Close its report, so that a newer one is seen. */
  fold() {
    this.#body.open = false;
  }

  stop() {
    this.#stop.abort();
  }

  /** @param {{ asked: number, found: number, failed: number, total: number }} event @param {number} ms since it began */
  #progress({ asked, found, failed, total }, ms) {
    const done = asked + found;
    Object.assign(this.run, { done, total: Math.max(total, 0) });
    const left = total > done && asked > 2 ? `about ${time(((total - done) * ms) / asked)} left` : '';
    const rate = asked > 2 ? `${((1000 * asked) / ms).toFixed(1)} a second` : '';
    this.#counts = [found && `${count(found, 'answer')} kept before`, failed && `${failed} failed`];
    this.#said(rate, left);
    this.how.changed();
  }

  /** @param {...string} speed */
  #said(...speed) {
    const { done, total, state, why } = this.run;
    this.#bar.hidden = state !== 'running';
    if (total) {
      this.#bar.max = total;
      this.#bar.value = done;
    } else this.#bar.removeAttribute('value');
    const far =
      done && (total > done ? `${done.toLocaleString('en')} of ${count(total, 'answer')}` : count(done, 'answer'));
    this.#far.textContent = [far, ...speed, ...this.#counts, why].filter(Boolean).join(' · ');
  }

  #shown() {
    const { run, how } = this;
    const act = (/** @type {string} */ label, /** @type {() => void} */ click, /** @type {any} */ sign = '') =>
      h('button', { type: 'button', class: 'small', on: { click } }, sign && icon(sign), label);
    this.#state.textContent = STATES[run.state];
    this.element.dataset.state = run.state;
    this.#bar.setAttribute('aria-label', `How far it is: ${run.title}`);
    const running = run.state === 'running';
    const { report } = run;
    const give = (/** @type {string} */ text, /** @type {string} */ end, /** @type {string} */ type) =>
      download(new File([text], `${named(run.title)}.${end}`, { type }));
    fill(
      this.#acts,
      running && act('Stop', () => this.stop(), 'stop'),
      !running && act(run.state === 'done' ? 'Run again' : 'Go on', () => this.start(), 'right'),
      report?.prompt && act('Take this prompt', () => how.use(report.prompt), 'book'),
      report?.lock && act('Lock', () => give(report.lock, 'lock.json', 'application/json'), 'lock'),
      report && act('Report as HTML', () => give(report.html, 'html', 'text/html'), 'down'),
      !running && act('Forget', () => this.#forget(), 'trash'),
    );
    this.#live.hidden = !running && Boolean(report); // the report says it all
    this.#body.hidden = running || !report;
    fill(this.#body, report && !running && reported(report));
    how.changed();
  }

  async #forget() {
    await this.how.runs.forget(this.run);
    this.element.remove();
    this.how.changed();
  }
}

/** @param {import('./runs.js').Report} report */
const reported = ({ title, badge: verdict, note, parts = [] }) => [
  h('summary', {}, h('h4', {}, title, ' ', verdict && badge(verdict))),
  note && h('p', { class: 'fine' }, note),
  ...parts.map((part) => ('texts' in part ? passage(part) : table(part))),
];

/** @param {string} title */
const named = (title) =>
  title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '') || 'report';
