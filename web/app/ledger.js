// The privacy ledger: every request this page and its workers made, and the switch that forbids them.

import { fill, h } from '../lib/dom.js';
import { size } from '../lib/format.js';
import { sheet } from './sheet.js';

/** @typedef {import('./network.js').Entry} Entry */

const MOST = 500;
const FROM = { network: 'from the site', cache: 'from this device', blocked: 'refused', sent: 'sent to the server' };

/** What leaves the tab, by where answers are made. */
const STAYS = {
  tab: 'Your documents and questions stay in this tab.',
  both: 'Your documents stay in this tab. A question goes to the server, with the passages found for it, where this tab is too slow.',
  server: 'Your questions and the files you add go to the server.',
};

export class Ledger {
  /** @type {Entry[]} */ entries = [];
  /** @type {(() => void) | undefined} */ #draw;

  /** @param {import('./network.js').Network} network @param {import('./room.js').Room} room */
  constructor(network, room) {
    this.network = network;
    this.room = room;
    network.addEventListener('entry', (event) => this.#add(/** @type {CustomEvent<Entry>} */ (event).detail));
    network.addEventListener('switch', () => this.#draw?.());
  }

  /** Requests of this page that passed the service worker by: those before it was in charge. */
  start() {
    const see = (/** @type {PerformanceEntryList} */ list) => {
      for (const entry of /** @type {PerformanceResourceTiming[]} */ (list)) {
        if (entry.workerStart > 0 || !/^(https?|wss?):/.test(entry.name)) continue;
        const at = performance.timeOrigin + entry.startTime;
        const from = entry.transferSize === 0 && entry.decodedBodySize > 0 ? 'cache' : 'network';
        this.#add({
          at,
          url: entry.name,
          from,
          who: entry.initiatorType,
          status: entry.responseStatus,
          size: entry.transferSize,
        });
      }
    };
    see(performance.getEntriesByType('navigation'));
    new PerformanceObserver((list) => see(list.getEntries())).observe({ type: 'resource', buffered: true });
  }

  /** @param {Entry} entry */
  #add(entry) {
    this.entries.push(entry);
    if (this.entries.length > MOST) this.entries.shift();
    this.#draw?.();
  }

  /** Requests to any other site. */
  get foreign() {
    const here = location.host;
    return this.entries.filter((entry) => new URL(entry.url).host !== here && ['network', 'sent'].includes(entry.from));
  }

  open() {
    const body = h('div', {});
    const box = h('input', {
      type: 'checkbox',
      role: 'switch',
      disabled: !this.network.enforced,
      on: { change: () => this.network.turn(box.checked) },
    });
    const why = this.network.enforced
      ? 'Pages and workers of this site get only what is stored on this device; everything else is refused. Only the browser itself may still look whether sw.js changed.'
      : 'This browser cannot enforce it here: there is no service worker in charge of this page.';
    const dialog = sheet(
      'Privacy',
      h(
        'p',
        { class: 'lede' },
        `${STAYS[this.room.where]} Below is every request this page and its workers made, and every message it sent.`,
      ),
      h('label', { class: 'switch big' }, box, h('span', {}, h('b', {}, 'Network off'), h('small', {}, why))),
      body,
    );
    this.#draw = () => {
      box.checked = this.network.off;
      const by = (/** @type {string} */ from) => this.entries.filter((entry) => entry.from === from);
      const figure = (/** @type {number} */ n, /** @type {string} */ text) =>
        h('li', {}, h('b', {}, String(n)), ` ${text}`);
      fill(
        body,
        h(
          'ul',
          { class: 'figures' },
          figure(this.foreign.length, 'to other sites'),
          figure(by('network').length + by('sent').length, 'to this site'),
          figure(by('cache').length, 'answered from this device'),
          figure(by('blocked').length, 'refused'),
        ),
        h(
          'table',
          { class: 'ledger' },
          h('caption', { class: 'unseen' }, 'Requests, newest first'),
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              ['When', 'What', 'Answer', 'Size'].map((name) => h('th', { scope: 'col' }, name)),
            ),
          ),
          h('tbody', {}, [...this.entries].reverse().map(row)),
        ),
      );
    };
    dialog.addEventListener('close', () => {
      this.#draw = undefined;
    });
    this.#draw();
  }
}

/** @param {Entry} entry */
function row({ at, url, from, who, size: bytes, status }) {
  const { host, pathname } = new URL(url);
  const what = host === location.host ? pathname : url;
  const when = new Date(at).toLocaleTimeString('en', { hour12: false });
  const failed = status >= 400 ? ` (${status})` : '';
  return h(
    'tr',
    { class: from },
    h('td', {}, when),
    h('td', { title: `${url} · ${who}` }, what),
    h('td', {}, FROM[from] + failed),
    h('td', {}, bytes ? size(bytes) : ''),
  );
}
