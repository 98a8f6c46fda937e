// What stands by the fire while nothing is asked: how to begin, or what was asked before.

import { fill, h, icon } from '../lib/dom.js';
import { count } from '../lib/format.js';
import { examples } from './examples.js';

const SVG = 'http://www.w3.org/2000/svg';

export class Welcome {
  /**
   * @param {HTMLElement} element @param {import('./room.js').Room} room
   * @param {{ bring: import('./bring.js').Bring, history: import('./history.js').History, mantel: import('./mantel.js').Mantel }} parts
   */
  constructor(element, room, parts) {
    this.element = element;
    this.room = room;
    this.parts = parts;
    this.idle = true;
    this.coming = false;
    room.addEventListener('cards', () => this.show(this.idle));
    this.show(true);
  }

  /** The sample library is on its way. @param {boolean} coming */
  expect(coming) {
    this.coming = coming;
    this.show(this.idle);
  }

  /** @param {boolean} idle */
  show(idle) {
    this.idle = idle;
    this.element.hidden = !idle;
    if (!idle) return;
    fill(this.element, this.room.cards.length ? this.#home() : this.#first());
  }

  #first() {
    const { bring } = this.parts;
    if (this.coming) {
      const text = 'The engine starts in this tab; then the library is unpacked. The next visit is quicker.';
      return [hearth(), h('h2', {}, 'The sample library is coming'), h('p', { class: 'lede' }, text)];
    }
    return [
      hearth(),
      h('h2', {}, 'Bring something to read'),
      h(
        'p',
        { class: 'lede' },
        'Drop files or a folder anywhere on this page. You can search them at once, and ask. They never leave this tab.',
      ),
      h(
        'div',
        { class: 'welcome-acts' },
        h(
          'button',
          { type: 'button', class: 'primary', on: { click: () => bring.files() } },
          icon('plus'),
          'Choose files',
        ),
        h('button', { type: 'button', on: { click: () => bring.folder() } }, icon('folder'), 'Choose a folder'),
        h('button', { type: 'button', on: { click: () => bring.sample() } }, icon('book'), 'Open the sample library'),
      ),
      h('p', { class: 'fine' }, 'PDF, Markdown, HTML, text, code, Word, CSV and JSON lines.'),
    ];
  }

  #home() {
    const asked = this.parts.history.entries.slice(0, 5).map(({ question }) => question);
    const tries = asked.length ? [] : examples(this.room.cards);
    const again = (/** @type {string} */ question) => {
      this.parts.mantel.put(question);
      this.parts.mantel.ask(question);
    };
    const words = this.room.cards.reduce((sum, card) => sum + card.chunks, 0);
    return [
      hearth(),
      h('h2', {}, 'What would you like to know?'),
      h(
        'p',
        { class: 'lede' },
        `${count(this.room.cards.length, 'document')}, ${count(words, 'passage')}. Type to search them; press Enter to ask.`,
      ),
      asked.length || tries.length
        ? h(
            'div',
            { class: 'asked' },
            h('h3', {}, asked.length ? 'Asked before' : 'For instance'),
            h(
              'ul',
              {},
              [...asked, ...tries].map((question) =>
                h(
                  'li',
                  {},
                  h('button', { type: 'button', class: 'history-ask', on: { click: () => again(question) } }, question),
                ),
              ),
            ),
          )
        : null,
    ];
  }
}

/** The inglenook: an arch, two benches, a fire that is as awake as the engine. */
function hearth() {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 320 200');
  svg.setAttribute('class', 'hearth');
  svg.setAttribute('aria-hidden', 'true');
  const draw = (/** @type {string} */ className, /** @type {string} */ d) => {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('class', className);
    path.setAttribute('d', d);
    svg.append(path);
  };
  draw('hearth-glow', 'M160 60a88 88 0 0 1 88 88v32H72v-32a88 88 0 0 1 88-88z');
  draw('hearth-wall', 'M40 184V112C40 50 92 14 160 14s120 36 120 98v72h-34v-68c0-40-36-66-86-66s-86 26-86 66v68z');
  draw('hearth-line', 'M160 14v36M86 34l22 28M234 34l-22 28M46 82l32 18M274 82l-32 18M40 132h34M246 132h34');
  draw('hearth-bench', 'M84 184v-26h30v26M236 184v-26h-30v26M80 158h38M202 158h38');
  draw('hearth-log', 'M132 180l56-14M132 166l56 14');
  draw('hearth-flame', 'M160 92c4 22 24 30 24 52a24 24 0 0 1-48 0c0-13 8-19 13-27 1 7 4 10 8 11 6-9-1-20 3-36z');
  draw('hearth-heart', 'M160 130c2 9 11 12 11 22a11 11 0 0 1-22 0c0-8 8-11 11-22z');
  draw('hearth-line', 'M20 184h280');
  return svg;
}
