// What a server asks for, if it does: kept while the page is open, in this browser only where a person says so.

import { h } from '../lib/dom.js';

const KEY = 'inglenook:key';

let key = '';
try {
  key = localStorage.getItem(KEY) ?? '';
} catch {
  // storage is refused
}

/** The key that was given, or ''. */
export const given = () => key;

/** Where it is given. */
export function keyField() {
  const field = h('input', { type: 'password', autocomplete: 'off', value: key, on: { input: () => keep() } });
  const stays = h('input', { type: 'checkbox', checked: stored(), on: { change: () => keep() } });
  const keep = () => {
    key = field.value.trim();
    try {
      if (stays.checked && key) localStorage.setItem(KEY, key);
      else localStorage.removeItem(KEY);
    } catch {
      // it lasts as long as the page
    }
  };
  return h(
    'details',
    { class: 'key' },
    h('summary', {}, 'It asks for a key'),
    h('label', {}, 'Key ', field),
    h('label', { class: 'tick' }, stays, 'Keep it in this browser'),
  );
}

function stored() {
  try {
    return localStorage.getItem(KEY) !== null;
  } catch {
    return false;
  }
}
