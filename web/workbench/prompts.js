// Prompts: one and its tests as text, what may be done with them, and runs of that.

import { fill, h } from '../lib/dom.js';
import { Editor } from './editor.js';
import { Panel } from './panel.js';
import { JOBS } from './stage.js';
import { Stages } from './stages.js';
import { table } from './tables.js';
import { Target } from './target.js';

const SENT = 'this prompt and the values of its tests';

export class Prompts extends Panel {
  #target = new Target(SENT);

  /** @param {import('./panel.js').Shop} shop */
  constructor(shop) {
    super(shop, ...JOBS);
    this.editor = new Editor(shop);
    this.stages = new Stages({
      runs: shop.runs,
      editor: this.editor,
      done: () => this.cards.map(({ run }) => run),
      sent: SENT,
      back: ({ version }) => this.#back(version).catch((error) => shop.toasts.fail(error)),
    });
    this.go = h('button', { type: 'button', class: 'primary', on: { click: () => this.#go() } });
    this.element = h(
      'div',
      {},
      h(
        'p',
        { class: 'lede' },
        'A prompt is run as often as it takes to know, and no more: what is clear is clear soon. Nothing leaves this tab unless you choose a server.',
      ),
      this.editor.element,
      this.#target.element,
      this.stages.element,
      this.list,
    );
    this.stages.go.append(this.go);
    this.#target.onchange = () => this.#ready();
    this.stages.onchange = () => this.#ready();
    this.editor.onchange = () => this.#ready();
    this.editor.onread = (names) => this.stages.named(names).catch((error) => shop.toasts.fail(error));
    this.stages.history.onfile = (file) => this.#history(file).catch((error) => shop.toasts.fail(error));
    shop.runs.onrelease = () => this.stages.history.read().catch((error) => shop.toasts.fail(error));
    this.#ready();
  }

  /** It is shown. */
  show() {
    this.editor.look();
  }

  /** @param {Array<{ ratio: number }>} levels */
  levels(levels) {
    this.#target.levels(levels);
    this.stages.levels(levels);
  }

  /** @param {any} told */
  async secret(told) {
    return {
      ...this.#target.secret(told),
      ...(told.to && { to: { ...told.to, ...this.stages.secret(told.to) } }),
      ...(told.name && { history: await this.shop.runs.history(told.name) }),
    };
  }

  /** @param {string} prompt */
  use(prompt) {
    this.editor.take(prompt);
    this.shop.toasts.say('The prompt is in the editor; Ctrl+Z brings back the one that was there.');
  }

  live() {
    const element = h('div', {});
    return {
      element,
      hear: async (/** @type {any} */ event, /** @type {any} */ told) => {
        if (event.type === 'Standing') fill(element, ...event.tables.map(table));
        if (event.type === 'Released') await this.stages.history.keep(told, event.line);
      },
    };
  }

  /** Go back to a version: as a release, and in the editor. @param {string} version */
  async #back(version) {
    const name = this.editor.name;
    const told = { name, version, history: await this.shop.runs.history(name) };
    for await (const event of this.shop.bench.run('rollback', told)) {
      const { text } = await this.stages.history.keep(told, event.line);
      this.use(text);
    }
  }

  /** Take in a history; another prompt's comes with its last version. @param {File} file */
  async #history(file) {
    for await (const { name, lines, text } of this.shop.bench.run('history', {
      path: file.name,
      text: await file.text(),
    })) {
      const some = await this.stages.history.take(name, lines);
      if (name !== this.editor.name) this.use(text);
      else await this.stages.history.read();
      if (!some) this.shop.toasts.say('All of it was here already.');
    }
  }

  #go() {
    const { job, title, told } = this.stages.chosen;
    this.begin(`${title}: ${this.editor.name}`, { ...this.editor.told, ...told, ...this.#target.told }, job);
  }

  #ready() {
    this.go.textContent = this.stages.chosen.act;
    this.go.disabled = !this.#target.ready || !this.editor.ready || !this.stages.ready;
  }
}
