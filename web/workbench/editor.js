// A prompt file and its tests as text, and what is wrong with them while one writes.

import { fill, h, icon } from '../lib/dom.js';
import { isAbort } from '../lib/errors.js';
import { count } from '../lib/format.js';
import { EXAMPLE } from './example.js';
import { pick } from './tables.js';

/** How long nobody types before the linter looks, in milliseconds. */
const PAUSE = 400;
const KEPT = 'inglenook:workbench';

/** @typedef {{ cases: string[], requirements: string[] }} Names what a text names, as far as it can be read */

export class Editor {
  /** Something was written. */
  onchange = () => {};
  /** @type {(names: Names) => void} what is written was read */ onread = () => {};
  #findings = h('ol', { class: 'findings', 'aria-label': 'Findings of the linter' });
  #summary = h('p', { class: 'fine', role: 'status' });
  #lost = h('p', { class: 'warning', role: 'status', hidden: true });
  #timer = 0;
  #looking = new AbortController();

  /** @param {import('./panel.js').Shop} shop */
  constructor(shop) {
    this.shop = shop;
    const kept = this.#kept();
    this.prompt = this.#text(kept.prompt, 'Prompt file');
    this.tests = this.#text(kept.tests, 'Tests');
    const small = (/** @type {string} */ label, /** @type {() => void} */ click, /** @type {any} */ sign) =>
      h('button', { type: 'button', class: 'small', on: { click } }, icon(sign), label);
    const box = (/** @type {string} */ title, /** @type {HTMLTextAreaElement} */ area, /** @type {any} */ ...acts) =>
      h('div', { class: 'bench-text' }, h('div', { class: 'bench-text-head' }, h('h3', {}, title), ...acts), area);
    this.element = h(
      'div',
      {},
      h(
        'div',
        { class: 'bench-texts' },
        box(
          'Prompt',
          this.prompt,
          small('Open', () => this.#open(this.prompt), 'folder'),
          small('Example', () => this.#example(), 'book'),
        ),
        box(
          'Tests',
          this.tests,
          small('Open', () => this.#open(this.tests), 'folder'),
        ),
      ),
      this.#lost,
      this.#summary,
      this.#findings,
    );
  }

  /** Whether there is something to run. */
  get ready() {
    return Boolean(this.prompt.value.trim() && this.tests.value.trim());
  }

  /** What a job is told. */
  get told() {
    return { prompt: this.prompt.value, tests: this.tests.value };
  }

  /** What the prompt is called. */
  get name() {
    return /^name:\s*(.+)$/m.exec(this.prompt.value)?.[1] ?? 'prompt';
  }

  /** Put another prompt here, so that Ctrl+Z brings the old one back. @param {string} text */
  take(text) {
    this.prompt.focus();
    this.prompt.select();
    if (!document.execCommand('insertText', false, text)) this.prompt.value = text;
    this.prompt.setSelectionRange(0, 0);
    this.prompt.scrollTop = 0;
    this.#changed();
  }

  #example() {
    this.prompt.value = EXAMPLE.prompt;
    this.tests.value = EXAMPLE.tests;
    this.#changed();
  }

  /** @param {HTMLTextAreaElement} into */
  async #open(into) {
    const [file] = await pick({ accept: '.prompt,.prompty,.yaml,.yml,.jsonl,.txt,.md' });
    if (!file) return;
    const text = await file.text();
    this.#lost.hidden = true;
    if (into === this.tests && /^(tests|defaultTest):/m.test(text) && !/^prompts:/m.test(text)) this.tests.value = text;
    else {
      try {
        for await (const event of this.shop.bench.run('take', { text, name: file.name })) {
          if (event.prompt) this.prompt.value = event.prompt;
          if (event.tests) this.tests.value = event.tests;
          this.#lost.hidden = !event.lost.length;
          this.#lost.textContent = event.lost.length ? `Not carried over: ${event.lost.join(' ')}` : '';
        }
      } catch (error) {
        into.value = text; // the linter says what is wrong with it, and where
        this.shop.toasts.fail(error);
      }
    }
    this.#changed();
  }

  #changed() {
    this.onchange();
    try {
      localStorage.setItem(KEPT, JSON.stringify({ prompt: this.prompt.value, tests: this.tests.value }));
    } catch {
      // it lasts as long as the page
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), PAUSE);
  }

  /** @returns {{ prompt: string, tests: string }} */
  #kept() {
    try {
      return { prompt: '', tests: '', ...JSON.parse(localStorage.getItem(KEPT) ?? '{}') };
    } catch {
      return { prompt: '', tests: '' };
    }
  }

  /** Let the linter look. */
  async look() {
    this.#looking.abort();
    if (!this.prompt.value.trim()) {
      fill(this.#findings);
      this.#summary.textContent =
        'Paste a prompt file, open one of promptfoo, prompty, dotprompt, GitHub or lm-eval, or begin with the example.';
      return;
    }
    const stop = new AbortController();
    this.#looking = stop;
    try {
      const told = { prompt: this.prompt.value, tests: this.tests.value };
      for await (const event of this.shop.bench.run('lint', told, { signal: stop.signal })) {
        if (stop !== this.#looking) continue;
        this.#found(event.findings);
        this.onread(event);
      }
    } catch (error) {
      if (!isAbort(error)) this.shop.toasts.fail(error);
    }
  }

  /** @param {any[]} findings */
  #found(findings) {
    this.#summary.textContent = findings.length ? count(findings.length, 'finding') : 'The linter has found nothing.';
    fill(this.#findings, ...findings.map((one) => this.#finding(one)));
  }

  /** @param {any} finding */
  #finding({ where, line, column, length, rule, severity, message, hint, dimension }) {
    const area = where === 'tests' ? this.tests : this.prompt;
    const go = () => {
      const lines = area.value.split('\n');
      const at = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0) + column - 1;
      area.focus();
      area.setSelectionRange(at, length ? at + length : at + (lines[line - 1]?.length ?? 0));
      area.scrollTop = ((line - 3) * area.scrollHeight) / lines.length;
    };
    const place = `${where === 'tests' ? 'tests, ' : ''}line ${line}`;
    return h(
      'li',
      { class: 'finding', data: { severity } },
      h('button', { type: 'button', class: 'small', title: `Go to ${place}`, on: { click: go } }, place),
      h('span', { class: 'finding-rule', title: dimension }, `${severity} ${rule}`),
      h('span', {}, h('b', {}, message), ` ${hint}`),
    );
  }

  /** @param {string} value @param {string} label */
  #text(value, label) {
    return h('textarea', {
      value,
      spellcheck: false,
      'aria-label': label,
      rows: 16,
      wrap: 'off',
      on: { input: () => this.#changed() },
    });
  }
}
