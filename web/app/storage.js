// What the library takes up, its index, and the library as one file.

import { download, fill, h, icon } from '../lib/dom.js';
import { count, size } from '../lib/format.js';
import { figures } from './figures.js';
import { sheet } from './sheet.js';

/** Said here and, once, as a notice when the page starts. */
export const NOT_KEPT = 'Nothing is kept: this browser refuses storage to this page.';

/** @param {import('./room.js').Status} status */
export const reason = (status) =>
  `What you add is gone when the tab closes; export it first.${status.reason ? ` The browser says: ${status.reason}` : ''}`;

/** The encoder and where each model stands, named for people. */
const NAMES = /** @type {Record<string, string>} */ ({ lm: 'writing', encoder: 'meaning', pdf: 'PDF reader' });
const STATES = /** @type {Record<string, string>} */ ({ absent: 'loaded when needed', ready: 'ready' });

/**
 * @param {import('./room.js').Room} room @param {import('./bring.js').Bring} bring
 * @param {import('./toast.js').Toasts} toasts
 */
export function storage(room, bring, toasts) {
  const meter = h('div', { class: 'meter-box' });
  const facts = h('dl', { class: 'facts-list' });
  const index = h('dl', { class: 'facts-list' });
  const say = h('p', { class: 'lede', role: 'status' });
  const pack = h(
    'button',
    { type: 'button', class: 'wide', on: { click: () => save() } },
    icon('down'),
    'Export as one file',
  );
  const unpack = h(
    'button',
    { type: 'button', class: 'wide', on: { click: () => choose() } },
    icon('up'),
    'Import a .nook file',
  );
  const dialog = sheet(
    'Storage',
    meter,
    facts,
    h('div', { class: 'pair' }, pack, unpack),
    say,
    h('h3', {}, 'Index of meaning'),
    index,
  );

  const save = async () => {
    pack.disabled = true;
    say.textContent = 'Packing your library.';
    try {
      const file = await room.nook.export();
      download(file);
      say.textContent = `${file.name}, ${size(file.size)}: it opens here, in the widget and with the inglenook command.`;
    } catch (error) {
      say.textContent = '';
      dialog.close();
      toasts.fail(error);
    }
    pack.disabled = false;
  };

  const choose = () => {
    const input = h('input', { type: 'file', accept: '.nook', 'aria-label': 'A .nook file' });
    input.addEventListener('change', () => {
      dialog.close();
      bring.add(input.files ?? []).catch((error) => toasts.fail(error));
    });
    input.click();
  };

  draw(room, meter, facts, index).catch((error) => toasts.fail(error));
}

/** @param {import('./room.js').Room} room @param {HTMLElement} box @param {HTMLElement} facts @param {HTMLElement} index */
async function draw(room, box, facts, index) {
  await room.ready;
  const status = await room.nook.status();
  const kept = await navigator.storage?.persisted?.();
  const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.().catch(() => undefined)) ?? {};
  const persist = h(
    'button',
    {
      type: 'button',
      class: 'small',
      on: {
        click: async () => {
          await navigator.storage.persist();
          draw(room, box, facts, index);
        },
      },
    },
    'Ask to keep it',
  );
  if (status.where === 'tab' && !status.kept) {
    fill(box, h('p', { class: 'warning', role: 'status' }, h('b', {}, NOT_KEPT), ` ${reason(status)}`));
  } else if (status.where !== 'tab')
    fill(box, h('p', {}, 'This is the library of the server. Yours in this tab stays as it is.'));
  else
    fill(
      box,
      h('meter', { min: 0, max: quota || 1, high: quota * 0.8, value: usage, 'aria-label': 'Storage used' }),
      h('p', {}, `${size(usage)} used of the ${size(quota)} this browser allows.`),
      h(
        'p',
        {},
        kept ? 'The browser keeps it until you remove it.' : 'The browser may clear it when space runs out. ',
        kept ? null : persist,
      ),
    );
  const models = Object.entries(status.models)
    .map(([name, state]) => `${NAMES[name] ?? name}: ${STATES[state] ?? state}`)
    .join(', ');
  /** @type {Array<[string, string]>} */
  const rows = [
    ['Documents', count(status.documents, 'document')],
    ['Passages', `${count(status.chunks, 'passage')}, ${share(status.vectors, status.chunks)} with meaning`],
    [status.where === 'tab' ? 'On this device' : 'Library', size(status.stored)],
    ['Engine memory', size(status.memory)],
    ['Encoder', status.encoder],
    ['Models', models || 'none loaded'],
    ['Version', status.version],
  ];
  fill(
    facts,
    rows.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
  );
  if (status.index) figures(index, status.index, room.asked);
}

/** @param {number} some @param {number} all */
const share = (some, all) => (some && some === all ? 'all' : some.toLocaleString('en'));
