// Fairness: BiasLens on the model that answers. Questions come from a file of the person's.

import { fill, h, icon } from '../lib/dom.js';
import { count, size } from '../lib/format.js';
import { Panel } from './panel.js';
import { pick } from './tables.js';
import { Target } from './target.js';

const KINDS = /** @type {Record<string, string>} */ ({ yn: 'yes or no', choice: 'choice', why: 'why' });
/** What a verdict of the repaired oracle is called. */
const SAID = /** @type {Record<string, string>} */ ({ b: 'biased', f: 'fair', a: 'abstained', u: 'unreadable' });

export class Fairness extends Panel {
  #target = new Target('all questions of this run');
  /** @type {File[]} */ #files = [];
  #named = h('span', { class: 'fine' }, 'None yet.');
  #sample = h('input', { type: 'number', min: '1', value: '1000', placeholder: 'all' });
  #seed = h('input', { type: 'number', min: '0', value: '0' });
  #swap = h('input', { type: 'checkbox', checked: true });

  /** @param {import('./panel.js').Shop} shop */
  constructor(shop) {
    super(shop, 'fairness');
    const open = (/** @type {string} */ label, /** @type {any} */ sign, /** @type {any} */ what) =>
      h(
        'button',
        { type: 'button', class: 'small', on: { click: async () => this.#take(await pick(what)) } },
        icon(sign),
        label,
      );
    this.go = h('button', { type: 'button', class: 'primary', disabled: true, on: { click: () => this.#go() } }, 'Ask');
    this.element = h(
      'div',
      {},
      h(
        'p',
        { class: 'lede' },
        'Every question is asked in a role and without it, three times each, choices in both orders. What abstains is neither fair nor biased and stands apart. After BiasLens (arXiv 2411.00585), whose own oracles stand beside ours.',
      ),
      h(
        'fieldset',
        { class: 'bench-target' },
        h('legend', {}, 'Questions'),
        h(
          'div',
          { class: 'pair' },
          open('Open a file', 'file', { accept: '.jsonl,.gz' }),
          open('Open the folder', 'folder', { folder: true }),
          this.#named,
        ),
        h(
          'p',
          { class: 'fine' },
          'This page fetches nothing from other sites, so it cannot get the published questions itself. On a machine ',
          h('code', {}, 'inglenook eval fairness --fetch'),
          ' does, into ',
          h('code', {}, '~/.cache/inglenook/biaslens'),
          ', each file checked; that folder can be opened here, and so can a .jsonl or .jsonl.gz of them.',
        ),
      ),
      this.#target.element,
      h(
        'div',
        { class: 'bench-go' },
        h('label', { class: 'field' }, 'How many, stratified (empty: all)', this.#sample),
        h('label', { class: 'field' }, 'Drawn with seed', this.#seed),
        h('label', { class: 'tick' }, this.#swap, 'Choices in both orders'),
        this.go,
      ),
      this.list,
    );
    this.#target.onchange = () => this.#ready();
  }

  show() {}

  /** @param {Array<{ ratio: number }>} levels */
  levels(levels) {
    this.#target.levels(levels);
  }

  /** @param {any} told */
  secret(told) {
    return this.#target.secret(told);
  }

  live() {
    const element = h('p', { class: 'run-now', hidden: true });
    const verdicts = (/** @type {string} */ codes) => [...codes].map((code) => SAID[code] ?? code).join(', ');
    return {
      element,
      hear: (/** @type {any} */ { type, done, total, role, kind, question, alone, in_role }) => {
        if (type !== 'Asked') return;
        element.hidden = false;
        fill(
          element,
          h('b', {}, `${done.toLocaleString('en')} of ${count(total, 'question')}`),
          ` · ${role} (${KINDS[kind]}): “${question}” · without the role: ${verdicts(alone)}; in it: ${verdicts(in_role)}`,
        );
      },
    };
  }

  #ready() {
    this.go.disabled = !this.#files.length || !this.#target.ready;
  }

  /** @param {File[]} picked */
  #take(picked) {
    const files = picked.filter(({ name }) => /\.(csv|jsonl|jsonl\.gz)$/.test(name));
    if (!files.length) {
      if (picked.length)
        this.shop.toasts.fail({
          code: 'no-file',
          message: 'There are no questions in it.',
          hint: 'It holds .csv files as the published repository does, or a .jsonl file.',
        });
      return;
    }
    this.#files = files;
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    this.#named.textContent = `${files.length > 1 ? count(files.length, 'file') : files[0].name}, ${size(bytes)}`;
    this.#ready();
  }

  async #go() {
    const sample = Number(this.#sample.value) || 0;
    try {
      const files = [];
      for (const file of this.#files) files.push(await this.shop.runs.keep(file));
      const what = sample ? `${sample.toLocaleString('en')} questions` : 'All questions';
      const told = {
        files,
        sample,
        seed: Number(this.#seed.value) || 0,
        swap: this.#swap.checked,
        ...this.#target.told,
      };
      this.begin(`${what}, seed ${told.seed}`, told);
    } catch (error) {
      this.shop.toasts.fail(error);
    }
  }
}
