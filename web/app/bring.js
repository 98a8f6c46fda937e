// Ways in: drop, pickers, paste, a .nook file, the sample library.

import { BASE } from '../base.js';
import { $, h } from '../lib/dom.js';
import { gather, withoutNoise } from '../lib/files.js';
import { count } from '../lib/format.js';

/** @typedef {import('../lib/files.js').Source} Source */

export const SAMPLE = new URL('static/samples/sample.nook', BASE);

/**
 * @param {import('./room.js').Room} room @param {import('./jobs.js').Jobs} jobs @param {import('./toast.js').Toasts} toasts
 */
export function bringing(room, jobs, toasts) {
  const bring = {
    /** @param {import('../lib/files.js').Files} files @param {string} [collection] */
    async add(files, collection = room.collection || 'notes') {
      const found = withoutNoise(await gather(files));
      const nooks = found.filter((source) => /\.nook$/i.test(source.path));
      for (const source of nooks) await bring.unpack(source);
      const sources = found.filter((source) => !nooks.includes(source));
      if (!found.length) toasts.say('Nothing to add.', 'There were no files in what you gave.');
      if (!sources.length) return;
      navigator.storage?.persist?.(); // asked once there is something to keep
      const items = sources.map(({ path, blob, modified }) => ({ path, data: blob, modified }));
      await jobs.run(`Adding ${count(items.length, 'file')}`, items.length, async (signal, onProgress) => {
        await room.nook.add(items, { collection, signal, onProgress });
      });
    },

    /** @param {Source} source */
    async unpack(source) {
      await jobs.run(`Unpacking ${source.path}`, 0, async (signal, onProgress) => {
        await room.nook.import(await source.read(), { signal, onProgress });
      });
    },

    async sample() {
      await jobs.run('Opening the sample library', 0, async (signal, onProgress) => {
        await room.nook.import(SAMPLE, { signal, onProgress });
      });
    },

    files: () => pick(false),
    folder: () => pick(true),
  };

  /** @param {boolean} folder */
  const pick = (folder) => {
    const input = h('input', {
      type: 'file',
      multiple: true,
      webkitdirectory: folder,
      hidden: true,
      'aria-label': 'Files',
    });
    input.addEventListener('change', () => {
      bring.add(input.files ?? []).catch((error) => toasts.fail(error));
      input.remove();
    });
    input.addEventListener('cancel', () => input.remove());
    document.body.append(input);
    input.click();
  };

  dropping(bring, toasts);
  pasting(bring, toasts);
  return bring;
}

/** @typedef {ReturnType<typeof bringing>} Bring */

/** @param {Bring} bring @param {import('./toast.js').Toasts} toasts */
function dropping(bring, toasts) {
  const zone = $('#dropzone');
  let depth = 0;
  const carries = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes('Files');
  addEventListener('dragenter', (event) => {
    if (!carries(event)) return;
    depth++;
    zone.hidden = false;
  });
  addEventListener('dragleave', (event) => {
    if (carries(event) && --depth <= 0) zone.hidden = true;
  });
  addEventListener('dragover', (event) => {
    if (carries(event)) event.preventDefault();
  });
  addEventListener('drop', (event) => {
    depth = 0;
    zone.hidden = true;
    if (!event.dataTransfer || !carries(event)) return;
    event.preventDefault();
    bring.add(event.dataTransfer).catch((error) => toasts.fail(error));
  });
}

/** @param {Bring} bring @param {import('./toast.js').Toasts} toasts */
function pasting(bring, toasts) {
  addEventListener('paste', (event) => {
    const data = event.clipboardData;
    if (!data) return;
    const typing = event.target instanceof Element && event.target.closest('input, textarea, [contenteditable]');
    /** @type {import('../lib/files.js').Files | undefined} */
    let files;
    if (data.files.length) files = data;
    else if (!typing && data.getData('text').trim()) {
      const stamp = new Date().toISOString().slice(0, 19).replace('T', ' ').replaceAll(':', '.');
      files = [{ path: `Pasted ${stamp}.txt`, data: data.getData('text') }];
    }
    if (!files) return;
    event.preventDefault();
    bring.add(files).catch((error) => toasts.fail(error));
  });
}
