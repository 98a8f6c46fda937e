// What may be done with a prompt: the choice of a stage, with its fields.

import { fill, h } from '../lib/dom.js';
import { date } from '../lib/format.js';
import { Earlier } from './earlier.js';
import { choice, number, tick } from './fields.js';
import { History } from './history.js';
import { COMPARE, DEBUG, stages } from './stage.js';
import { Target } from './target.js';

/** @param {string} version */
const since = (version) => `versions since ${version}`;

/**
 * @typedef {object} Room what stages know of the rest
 * @property {import('./runs.js').Runs} runs @property {import('./editor.js').Editor} editor
 * @property {() => import('./runs.js').Run[]} done runs @property {string} sent what goes to a server
 * @property {(release: import('./history.js').Release) => void} back go back to a version
 */

export class Stages {
  /** Another was chosen, or something about it. */
  onchange = () => {};
  #at = 0;
  /** @type {import('./stage.js').Stage[]} */ #stages;
  #about = h('p', { class: 'fine' });
  #fields = h('div', { class: 'bench-fields' });
  /** Where the button goes that begins it. */
  go = h('div', { class: 'bench-go' }, this.#fields);
  #count = 0;
  /** @type {HTMLInputElement[]} */ #radios;
  /** @type {Earlier} */ #earlier;
  /** @type {Target} */ #beside;
  #elsewhere = tick('On another model: may it take over?');
  #smaller = tick('Smaller parts of the model first');
  #where = choice('Look in', 'this prompt');
  #searching = {
    requirement: choice('Only failures of', 'any requirement'),
    runs: number('Runs at most', 200),
    lacking: tick('Look for what is missing'),
  };

  /** @param {Room} room */
  constructor({ runs, editor, done, sent, back }) {
    this.editor = editor;
    this.history = new History(runs, () => editor.name, {
      'Compare with it': ({ text }) => {
        this.#earlier.choose(text);
        this.#show(COMPARE);
      },
      'Find the version that broke it': ({ version }) => {
        this.#where.choose(since(version));
        this.#show(DEBUG);
      },
      'Go back to it': back,
    });
    this.history.onread = () => {
      this.#where.offer(this.history.releases.map(({ version }) => since(version)));
      this.#where.element.hidden = !this.history.releases.length;
      this.#bisecting();
    };
    const known = () => [
      ...this.history.releases.toReversed().map(({ text, version }) => [text, `${version}, released`]),
      ...done().map(({ told, at }) => [told.prompt, named(told.prompt, at)]),
    ];
    this.#earlier = new Earlier(known, () => this.onchange());
    this.#beside = new Target(sent, 'Who answers this one');
    this.#beside.onchange = () => this.onchange();
    this.#elsewhere.element.addEventListener('change', () => this.#aside());
    this.#where.element.addEventListener('change', () => this.#bisecting());
    const levels = () =>
      this.#count > 1 && this.#smaller.get() ? Array.from({ length: this.#count }, (_, i) => i).reverse() : null;
    const made = {
      before: this.#earlier,
      smaller: { element: this.#smaller.element, get: levels },
      versions: { element: this.#where.element, get: () => this.#versions() },
      to: {
        element: h('div', { class: 'bench-other' }, this.#elsewhere.element, this.#beside.element),
        get: () => (this.#elsewhere.get() ? this.#beside.told : undefined),
        missing: () => this.#elsewhere.get() && !this.#beside.ready,
      },
      history: this.history,
    };
    this.#stages = stages(made, this.#searching);
    this.levels([]);
    this.#aside();
    this.history.onread();
    this.#radios = this.#stages.map((_, at) =>
      h('input', { type: 'radio', name: 'stage', checked: at === this.#at, on: { change: () => this.#choose(at) } }),
    );
    this.element = h(
      'div',
      {},
      h(
        'fieldset',
        { class: 'bench-target' },
        h('legend', {}, 'What to do'),
        h(
          'div',
          { class: 'pair' },
          ...this.#stages.map(({ label }, at) => h('label', { class: 'tick' }, this.#radios[at], label)),
        ),
        this.#about,
      ),
      this.go,
    );
    this.#choose(0);
  }

  /** The stage that is chosen, and what its job is told. */
  get chosen() {
    const { job, label, title = label, act, fields, more } = this.#stages[this.#at];
    const told = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.get()]));
    return { job, title, act, told: { ...told, ...more } };
  }

  /** Whether all is there that it needs. */
  get ready() {
    return Object.values(this.#stages[this.#at].fields).every((field) => !field.missing?.());
  }

  /** What a job has to be told of the other target each time anew. @param {any} to */
  secret(to) {
    return this.#beside.secret(to);
  }

  /** The parts of the model that can answer. @param {Array<{ ratio: number }>} levels */
  levels(levels) {
    this.#count = levels.length;
    this.#smaller.element.hidden = levels.length < 2;
    this.#beside.levels(levels);
  }

  /** What the prompt and its tests name, to choose from. @param {import('./editor.js').Names} names */
  named({ cases, requirements }) {
    for (const { fields } of this.#stages) {
      fields.case?.offer?.(cases);
      fields.requirement?.offer?.(requirements);
    }
    return this.history.read();
  }

  /** Released versions from the chosen one on and the prompt in the editor, for a search for what broke it. */
  #versions() {
    const first = this.history.releases.findIndex(({ version }) => since(version) === this.#where.get());
    if (first < 0) return undefined;
    const versions = this.history.releases.slice(first).map(({ version, text }) => [version, text]);
    const now = this.editor.told.prompt;
    return now === versions.at(-1)?.[1] ? versions : [...versions, ['this one', now]];
  }

  /** What is asked of a search in one prompt is not asked of one through versions. */
  #bisecting() {
    for (const { element } of Object.values(this.#searching)) element.hidden = Boolean(this.#where.get());
  }

  /** Another target answers the new side, or does not any more. */
  #aside() {
    const elsewhere = this.#elsewhere.get();
    this.#beside.element.hidden = !elsewhere;
    this.#earlier.without(elsewhere ? 'this one' : undefined);
    this.onchange();
  }

  /** @param {string} label */
  #show(label) {
    const at = this.#stages.findIndex((stage) => stage.label === label);
    this.#radios[at].checked = true;
    this.#radios[at].focus();
    this.#choose(at);
  }

  /** @param {number} at */
  #choose(at) {
    this.#at = at;
    const { about, fields } = this.#stages[at];
    this.#about.textContent = about;
    this.#earlier.offer();
    this.#bisecting();
    fill(this.#fields, ...Object.values(fields).map(({ element }) => element));
    this.onchange();
  }
}

/** @param {string} prompt @param {number} at when it ran, in milliseconds */
function named(prompt, at) {
  const [name, version] = ['name', 'version'].map(
    (key) => new RegExp(`^${key}:\\s*(.+)$`, 'm').exec(prompt)?.[1] ?? '',
  );
  return `${name || 'prompt'} ${version}, ran ${date(at / 1000)}`;
}
