// The doctor: probes of this tab's engine, and what is wrong with it.

import { fill, h } from '../lib/dom.js';
import { progress } from '../lib/format.js';
import { ticks } from './fields.js';
import { Panel } from './panel.js';

const TIERS = /** @type {const} */ ([
  ['files', 'what it runs with, damaged files', 'Files'],
  ['api', 'completions, forms, several at once', 'Chat'],
  ['tokens', 'every token explained by the plain way', 'Tokens and scores'],
  ['inside', 'layers, work done twice, what answers leave behind', 'Insides'],
]);
const STAGES = /** @type {Record<string, string>} */ ({
  examine: 'Probing',
  intervene: 'Trying what makes it vanish',
  reduce: 'Making the failure small',
});

export class Doctor extends Panel {
  hard = true;
  #tiers = ticks('How deep', TIERS, true, () => {
    this.go.disabled = !this.#tiers.get().length;
  });

  /** @param {import('./panel.js').Shop} shop */
  constructor(shop) {
    super(shop, 'examine');
    this.go = h('button', { type: 'button', class: 'primary', on: { click: () => this.#go() } }, 'Examine');
    this.element = h(
      'div',
      {},
      h(
        'p',
        { class: 'lede' },
        'The engine of this tab, from its files to its insides: the same kernels and weights in a worker of their own, every token held against the plain way. What both builds of the kernel get wrong alike it cannot see; ',
        h('code', {}, 'inglenook doctor native'),
        ' holds them against a float pass.',
      ),
      h('fieldset', { class: 'bench-target' }, h('legend', {}, 'How deep'), this.#tiers.element),
      h(
        'div',
        { class: 'bench-go' },
        h('p', { class: 'fine' }, 'It needs some 400 MB of memory while it runs. Questions are answered meanwhile.'),
        this.go,
      ),
      this.list,
    );
  }

  show() {}

  levels() {}

  live() {
    const now = h('p', { class: 'run-now', role: 'status', hidden: true });
    const list = h('ul', { class: 'probes' });
    const probe = (/** @type {any} */ { probe: name, tier, about, state, reason, findings }) =>
      h(
        'li',
        {},
        h(
          'span',
          { class: `verdict ${state === 'passed' ? 'pass' : state === 'failed' ? 'fail' : 'undecided'}` },
          state,
        ),
        h(
          'span',
          {},
          h('b', {}, name),
          ` ${about} (${tier})`,
          reason && h('small', {}, reason),
          ...findings.map((/** @type {any} */ one) => h('small', {}, `${one.sign}: ${one.text}`)),
        ),
      );
    return {
      element: h('div', {}, now, list),
      hear: (/** @type {any} */ event) => {
        now.hidden = false;
        if (event.type === 'Loading')
          now.textContent = progress({
            stage: 'load',
            done: event.done,
            total: event.total,
            unit: 'bytes',
            note: 'lm',
          });
        else if (event.type === 'Examining') {
          if (event.stage === 'examine' && !event.done) fill(list);
          now.textContent = `${STAGES[event.stage] ?? event.stage} · ${event.done + 1} of ${event.total} · ${event.note}`;
        } else if (event.type === 'Probed') list.append(probe(event));
      },
    };
  }

  #go() {
    const tiers = this.#tiers.get();
    this.begin(tiers.length === TIERS.length ? 'All tiers' : `Tiers: ${tiers.join(', ')}`, { tiers });
  }
}
