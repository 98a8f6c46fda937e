// Where answers are made: this tab, or with consent the server of this site.

import { fill, h } from '../lib/dom.js';
import { time } from '../lib/format.js';
import { serverUrl } from '../lib/remote.js';
import { keyField } from './key.js';
import { sheet } from './sheet.js';

/** @typedef {import('./room.js').Room['where']} Where */

/** @type {Record<Where, { title: string, text: string, consent: string, button: string }>} */
const PLACES = {
  tab: {
    title: 'This tab alone',
    text: 'Nothing leaves it.',
    consent: '',
    button: 'Answer in this tab',
  },
  both: {
    title: 'This tab, and the server where it is too slow',
    text: 'Your library stays here. Only when the dial asks for more than this tab can do, the question goes to the server with the one or two passages that answer it, and the server writes.',
    consent: 'I agree that my questions and the passages found for them may go to this server',
    button: 'Use the server',
  },
  server: {
    title: 'The server, from its own library',
    text: 'You will see its documents. All you ask is sent to it, and so are the files you add.',
    consent: 'I agree that my questions and added files go to this server',
    button: 'Use the server',
  },
};

/**
 * @param {import('./room.js').Room} room @param {import('./network.js').Network} network
 * @param {import('./toast.js').Toasts} toasts
 */
export function server(room, network, toasts) {
  const more = h('div', {});
  const radio = (/** @type {Where} */ where) =>
    h(
      'label',
      { class: 'tick' },
      h('input', {
        type: 'radio',
        name: 'where',
        value: where,
        checked: where === room.where,
        on: { change: () => show(where) },
      }),
      h('span', {}, h('b', {}, PLACES[where].title), h('small', {}, PLACES[where].text)),
    );
  const choice = h('fieldset', { class: 'places' }, h('legend', {}, 'Answers are written by'));
  choice.append(radio('tab'), radio('both'), radio('server'));
  const dialog = sheet('Where answers are made', choice, more);

  /** What a choice needs before it is made. @param {Where} where */
  const show = (where) => {
    const { consent, button } = PLACES[where];
    const go = h('button', { type: 'button', class: 'wide', on: { click: () => use(where) } }, button);
    const agree = h('input', { type: 'checkbox', on: { change: () => ready() } });
    const ready = () => {
      go.disabled = Boolean(consent) && (!agree.checked || network.off);
    };
    ready();
    fill(
      more,
      where === room.where && h('p', { class: 'lede' }, 'This is how it is now.'),
      consent &&
        where !== room.where && [
          h('p', {}, 'The address of ', h('code', {}, 'inglenook serve'), ': ', h('code', {}, serverUrl().href)),
          network.off &&
            h('p', { role: 'status' }, h('b', {}, 'The network is off.'), ' Switch it on in the privacy ledger first.'),
          h('label', { class: 'tick' }, agree, consent),
        ],
      where !== room.where && go,
      consent && where !== room.where && keyField(),
      consent && h('p', {}, 'If the server goes away, this tab answers by itself.'),
    );
  };

  /** @param {Where} where */
  const use = async (where) => {
    const parts = [...dialog.querySelectorAll('input, .wide')];
    for (const part of parts) /** @type {HTMLButtonElement} */ (part).disabled = true;
    try {
      if (where === 'tab') await room.useTab();
      else if (where === 'server') await room.useServer();
      const told = where === 'both' ? await room.useHelp() : undefined;
      dialog.close();
      toasts.say(said(where, told));
    } catch (error) {
      for (const part of parts) /** @type {HTMLButtonElement} */ (part).disabled = false;
      show(where);
      toasts.fail(error);
    }
  };
  show(room.where);
}

/** @param {Where} where @param {Awaited<ReturnType<import('./room.js').Room['useHelp']>>} told */
function said(where, told) {
  if (where === 'tab') return 'This tab answers.';
  if (where === 'server') return 'The server answers. This tab takes over if it goes away.';
  const fast = told ? ` It is ${time(told.delay_ms)} away and reads 256 tokens in ${time(told.first_ms)}.` : '';
  return `The server writes where this tab is too slow.${fast}`;
}
