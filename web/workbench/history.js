// What was released of the prompt in the editor, and what may be done with a version: hold the prompt against it, look
// for the one that broke it, go back.

import { download, fill, h, icon } from '../lib/dom.js';
import { NookError } from '../lib/errors.js';
import { pick } from './tables.js';

/** A line of it (prompt/release.py). @typedef {{ version: string, text: string, level: string | null, target: string,
 *   evidence: Record<string, string>, note: string }} Release */

export class History {
  /** @type {Release[]} oldest first */ releases = [];
  /** It was read. */
  onread = () => {};
  #lines = '';
  #list = h('div', { class: 'versions' });
  #acts = h('div', { class: 'pair' });
  /** A file of it was chosen. @type {(file: File) => void} */
  onfile = () => {};
  #title = h('legend', {});
  #chosen = '';

  /**
   * @param {import('./runs.js').Runs} runs @param {() => string} name of the prompt
   * @param {Record<string, (release: Release) => void>} acts what may be done with a version
   */
  constructor(runs, name, acts) {
    this.runs = runs;
    this.name = name;
    for (const [label, act] of Object.entries(acts)) {
      const click = () => {
        const release = this.releases.find(({ version }) => version === this.#chosen);
        if (release) act(release);
      };
      this.#acts.append(h('button', { type: 'button', class: 'small', on: { click } }, label));
    }
    const give = () => download(new File([this.#lines], `${name()}.history.jsonl`, { type: 'application/jsonl' }));
    this.#acts.append(h('button', { type: 'button', class: 'small', on: { click: give } }, icon('down'), 'Export it'));
    const open = async () => {
      for (const file of await pick({ accept: '.jsonl' })) this.onfile(file);
    };
    const opened = h('button', { type: 'button', class: 'small', on: { click: open } }, icon('folder'), 'Open a file');
    const row = h('div', { class: 'pair' }, this.#acts, opened);
    this.element = h('fieldset', { class: 'bench-target bench-history' }, this.#title, this.#list, row);
  }

  /** What a release is told: whose history it is. */
  get() {
    return this.name();
  }

  /** Read it. */
  async read() {
    const name = this.name();
    const lines = await this.runs.history(name);
    if (name !== this.name()) return;
    this.#lines = lines;
    this.releases = lines
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    this.#shown();
    this.onread();
  }

  /** Add to what a job was told of it; the new release. @param {any} told @param {string} line @returns {Promise<Release>} */
  async keep({ name, history }, line) {
    await this.runs.release(name, history, line);
    this.#chosen = '';
    await this.read();
    return JSON.parse(line);
  }

  /**
   * Take in the lines of a file; whether any of them is new. Throws NookError 'history' where another way was taken here.
   * @param {string} name @param {string} lines
   */
  async take(name, lines) {
    const before = await this.runs.history(name);
    if (!lines.startsWith(before) && !before.startsWith(lines)) {
      const hint = 'Export what is here, and keep the one that counts under another name.';
      throw new NookError('history', `${name} was released in other ways here and in the file.`, hint);
    }
    if (lines.length > before.length) await this.runs.release(name, before, lines.slice(before.length));
    return lines.length > before.length;
  }

  #shown() {
    const { releases } = this;
    this.#title.textContent = `Released: ${this.name()}`;
    this.#acts.hidden = !releases.length;
    if (!releases.some(({ version }) => version === this.#chosen)) this.#chosen = releases.at(-1)?.version ?? '';
    fill(
      this.#list,
      !releases.length && h('p', { class: 'fine' }, 'Nothing yet. The first release is 1.0.0.'),
      ...releases.toReversed().map((release) => this.#row(release)),
    );
  }

  /** @param {Release} release */
  #row({ version, level, evidence, note, target }) {
    const changes = Object.entries(evidence).map(([what, said]) => `${what} ${said.split(' ')[0]}`);
    const about = [level && `${level} version`, ...(note ? [note] : changes), target].filter(Boolean).join(' · ');
    const choose = () => {
      this.#chosen = version;
    };
    const checked = version === this.#chosen;
    const input = h('input', { type: 'radio', name: 'version', checked, on: { change: choose } });
    return h('label', { class: 'tick' }, input, h('span', {}, h('b', {}, version), h('small', {}, about)));
  }
}
