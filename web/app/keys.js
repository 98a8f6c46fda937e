// The keyboard: everything works without a mouse.

import { h } from '../lib/dom.js';
import { sheet } from './sheet.js';

/** @type {Array<[string[], string]>} */
const KEYS = [
  [['/', 'Ctrl K'], 'go to the question'],
  [['Enter'], 'ask; Shift Enter begins a new line'],
  [['↓', '↑'], 'walk the passages'],
  [['Enter'], 'on a passage: open its source'],
  [['Esc'], 'close, stop, clear: whatever is nearest'],
  [['M'], 'the map of the library'],
  [['W'], 'the workbench'],
  [['?'], 'this page'],
];

export const keys = {
  /**
   * @param {{ mantel: import('./mantel.js').Mantel, map: import('./map.js').MapOfLibrary,
   *   viewer: import('./viewer.js').Viewer, workshop: import('./workshop.js').Workshop }} parts
   */
  listen({ mantel, map, viewer, workshop }) {
    addEventListener('keydown', (event) => {
      if (document.querySelector('dialog[open]')) return;
      const typing =
        event.target instanceof Element && event.target.closest('input, textarea, select, [contenteditable]');
      const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
      if (
        ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') ||
        (event.key === '/' && plain && !typing)
      ) {
        event.preventDefault();
        mantel.input.focus();
        mantel.input.select();
      } else if (event.key === '?' && plain && !typing) {
        event.preventDefault();
        keys.help();
      } else if (event.key === 'm' && plain && !typing) {
        event.preventDefault();
        map.toggle();
      } else if (event.key === 'w' && plain && !typing) {
        event.preventDefault();
        workshop.toggle();
      } else if (event.key === 'Escape') {
        if (viewer.isOpen) viewer.close();
        else if (map.isOpen) map.close();
        else if (workshop.isOpen && !typing) workshop.close();
        else mantel.stop();
      }
    });
  },

  help() {
    sheet(
      'Help',
      h(
        'p',
        { class: 'lede' },
        'Inglenook reads your documents in this tab. Search finds passages by their words and by their meaning. Ask, and the passage that answers best comes first, in its own words.',
      ),
      h(
        'p',
        {},
        'Below it a small model may write an answer. It has 135 million parameters: quick and private, and often wrong. The numbers after its sentences lead to the passages that support them; a sentence without a number has no support.',
      ),
      h('h3', {}, 'Keys'),
      h(
        'dl',
        { class: 'keys' },
        KEYS.map(([names, what]) =>
          h(
            'div',
            {},
            h(
              'dt',
              {},
              names.map((name) => h('kbd', {}, name)),
            ),
            h('dd', {}, what),
          ),
        ),
      ),
      h('h3', {}, 'Good to know'),
      h(
        'ul',
        {},
        h('li', {}, 'Files can be dropped anywhere, or pasted. Pasted text becomes a document.'),
        h('li', {}, 'Adding a changed file again replaces only that document.'),
        h('li', {}, 'After the first visit everything works without a connection.'),
        h('li', {}, 'Export packs the whole library in one file.'),
      ),
    );
  },
};
