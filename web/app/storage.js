// What the library takes up, and the library as one file.

import { fill, h, icon } from '../lib/dom.js';
import { count, size } from '../lib/format.js';
import { sheet } from './sheet.js';

/**
 * @param {import('./room.js').Room} room @param {import('./bring.js').Bring} bring
 * @param {import('./toast.js').Toasts} toasts
 */
export function storage(room, bring, toasts) {
  const meter = h('div', { class: 'meter-box' });
  const facts = h('dl', { class: 'facts-list' });
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
  const dialog = sheet('Storage', meter, facts, h('div', { class: 'pair' }, pack, unpack), say);

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

  draw(room, meter, facts).catch((error) => toasts.fail(error));
}

/** @param {import('./room.js').Room} room @param {HTMLElement} box @param {HTMLElement} facts */
async function draw(room, box, facts) {
  const kept = await navigator.storage?.persisted?.();
  const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.()) ?? {};
  const persist = h(
    'button',
    {
      type: 'button',
      class: 'small',
      on: {
        click: async () => {
          await navigator.storage.persist();
          draw(room, box, facts);
        },
      },
    },
    'Ask to keep it',
  );
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
  await room.ready;
  const status = await room.nook.status();
  const models = Object.entries(status.models)
    .map(([name, state]) => `${name === 'lm' ? 'writing model' : name} ${state}`)
    .join(', ');
  /** @type {Array<[string, string]>} */
  const rows = [
    ['Documents', count(status.documents, 'document')],
    ['Passages', `${count(status.chunks, 'passage')}, ${status.vectors} with meaning`],
    ['Library', size(status.stored)],
    ['Engine memory', size(status.memory)],
    ['Encoder', status.encoder],
    ['Models', models || 'none loaded'],
    ['Version', status.version],
  ];
  fill(
    facts,
    rows.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
  );
}

/** @param {File} file */
function download(file) {
  const href = URL.createObjectURL(file);
  const link = h('a', { href, download: file.name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
}
