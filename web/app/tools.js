// The row of tools at the top.

import { fill, h, icon } from '../lib/dom.js';

/** Where answers are made, and what stands out all the while: that something may leave the tab. */
const PLACES = {
  tab: 'Where answers are made',
  both: 'Where answers are made: here or on the server',
  server: 'Where answers are made: on the server',
};

/**
 * @param {HTMLElement} nav @param {import('./room.js').Room} room
 * @param {{ elastic: () => void, history: () => void, map: () => void, privacy: () => void, server: () => void, storage: () => void, help: () => void,
 *   workbench: () => void,
 *   theme: typeof import('./theme.js').theme }} acts
 */
export function tools(nav, room, acts) {
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
  const place = tool('server', '', acts.server);
  const where = () => {
    const label = PLACES[room.where];
    place.title = label;
    place.setAttribute('aria-label', label);
    place.classList.toggle('on', label !== PLACES.tab);
  };
  for (const event of ['place', 'help']) room.addEventListener(event, where);
  where();
  fill(
    nav,
    tool('map', 'Map of the library', acts.map),
    tool('bench', 'Workbench', acts.workbench),
    tool('clock', 'History', acts.history),
    tool('down', 'Storage and export', acts.storage),
    tool('dial', 'How elastic is it', acts.elastic),
    place,
    tool('lock', 'Privacy ledger', acts.privacy),
    shade,
    tool('help', 'Help and keys', acts.help),
  );
}
