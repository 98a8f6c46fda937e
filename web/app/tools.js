// The row of tools at the top.

import { fill, h, icon } from '../lib/dom.js';

/**
 * @param {HTMLElement} nav
 * @param {{ elastic: () => void, history: () => void, map: () => void, privacy: () => void, server: () => void, storage: () => void, help: () => void,
 *   theme: typeof import('./theme.js').theme }} acts
 */
export function tools(nav, acts) {
  const tool = (
    /** @type {Parameters<typeof icon>[0]} */ name,
    /** @type {string} */ label,
    /** @type {() => void} */ act,
  ) =>
    h('button', { type: 'button', class: 'plain', title: label, 'aria-label': label, on: { click: act } }, icon(name));
  const shade = tool('moon', '', () => {
    acts.theme.next();
    name();
  });
  const name = () => {
    const label = `Theme: ${acts.theme.now}`;
    shade.title = label;
    shade.setAttribute('aria-label', label);
    shade.replaceChildren(icon(acts.theme.now === 'dark' ? 'moon' : acts.theme.now === 'light' ? 'sun' : 'shade'));
  };
  name();
  fill(
    nav,
    tool('map', 'Map of the library', acts.map),
    tool('clock', 'History', acts.history),
    tool('down', 'Storage and export', acts.storage),
    tool('dial', 'How elastic is it', acts.elastic),
    tool('server', 'Where answers are made', acts.server),
    tool('lock', 'Privacy ledger', acts.privacy),
    shade,
    tool('help', 'Help and keys', acts.help),
  );
}
