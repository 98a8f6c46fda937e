// What the three parts of the workbench share: a form, and the runs that came of it.

import { fill, h } from '../lib/dom.js';
import { Card } from './card.js';

/** @typedef {import('./runs.js').Run} Run */
/**
 * @typedef {object} Shop what all parts work with
 * @property {import('./bench.js').Bench} bench @property {import('./runs.js').Runs} runs
 * @property {{ fail(error: unknown): void, say(message: string): void }} toasts
 * @property {() => void} changed something was begun, ended or forgotten
 */

export class Panel {
  /** @type {Card[]} */ cards = [];
  /** Stop has to end the worker. */
  hard = false;
  list = h('ul', { class: 'runs', 'aria-label': 'Runs' });

  /** @param {Shop} shop @param {...string} jobs what its runs do */
  constructor(shop, ...jobs) {
    this.shop = shop;
    this.jobs = jobs;
  }

  /** Show the runs that are kept. @param {Run[]} runs */
  fill(runs) {
    this.cards = runs.filter(({ job }) => this.jobs.includes(job)).map((run) => this.#card(run));
    for (const card of this.cards.slice(1)) card.fold();
    fill(this.list, ...this.cards.map(({ element }) => element));
  }

  /** Begin a run. @param {string} title @param {any} told @param {string} [job] */
  begin(title, told, job = this.jobs[0]) {
    const at = Date.now();
    const run = /** @type {Run} */ ({
      id: `${at}-${crypto.randomUUID().slice(0, 8)}`,
      job,
      title,
      told,
      state: 'running',
      at,
      done: 0,
      total: 0,
    });
    for (const card of this.cards) card.fold();
    const card = this.#card(run);
    this.cards.unshift(card);
    this.list.prepend(card.element);
    card.start().catch((error) => this.shop.toasts.fail(error));
  }

  /** @returns {import('./card.js').Live} */
  live() {
    return { element: h('div', {}), hear: () => {} };
  }

  /** What a run needs to be told each time anew. @param {any} _told @returns {object | Promise<object>} */
  secret(_told) {
    return {};
  }

  /** Take a prompt that a run has made. @param {string} _prompt */
  use(_prompt) {}

  /** @param {Run} run */
  #card(run) {
    const { bench, runs, changed } = this.shop;
    return new Card(run, {
      bench,
      runs,
      changed,
      hard: this.hard,
      live: () => this.live(),
      secret: (told) => this.secret(told),
      use: (prompt) => this.use(prompt),
    });
  }
}
