// Where answers are made: this tab, or with consent the server of this site.

import { fill, h } from '../lib/dom.js';
import { serverUrl } from '../lib/remote.js';
import { sheet } from './sheet.js';

/**
 * @param {import('./room.js').Room} room @param {import('./network.js').Network} network
 * @param {import('./toast.js').Toasts} toasts
 */
export function server(room, network, toasts) {
  const body = h('div', {});
  const dialog = sheet('Where answers are made', body);
  const go = async (/** @type {() => Promise<void>} */ move, /** @type {string} */ said) => {
    for (const button of body.querySelectorAll('button')) button.disabled = true;
    try {
      await move();
      dialog.close();
      toasts.say(said);
    } catch (error) {
      show();
      toasts.fail(error);
    }
  };
  const show = () => {
    const remote = room.place === 'server';
    const here = h(
      'button',
      { type: 'button', class: 'wide', on: { click: () => go(() => room.useTab(), 'This tab answers.') } },
      'Answer in this tab',
    );
    const agree = h('input', {
      type: 'checkbox',
      on: {
        change: () => {
          there.disabled = !agree.checked || network.off;
        },
      },
    });
    const there = h(
      'button',
      {
        type: 'button',
        class: 'wide',
        disabled: true,
        on: { click: () => go(() => room.useServer(), 'The server answers. This tab takes over if it goes away.') },
      },
      'Use the server',
    );
    const consent = [
      h(
        'p',
        {},
        'A server with ',
        h('code', {}, 'inglenook serve'),
        ' answers from its own library, usually faster. You will then see its documents, and what you ask or add is sent to it.',
      ),
      h('p', {}, 'Address: ', h('code', {}, serverUrl().href)),
      network.off
        ? h('p', { role: 'status' }, h('b', {}, 'The network is off.'), ' Switch it on in the privacy ledger first.')
        : null,
      h('label', { class: 'tick' }, agree, 'I agree that my questions and added files go to this server'),
      there,
    ];
    fill(
      body,
      h(
        'p',
        { class: 'lede' },
        remote ? 'Questions go to the server of this site.' : 'Questions are answered in this tab. Nothing leaves it.',
      ),
      remote ? [here, h('p', {}, 'If the server goes away, this tab answers by itself.')] : consent,
    );
  };
  show();
}
