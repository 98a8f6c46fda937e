// Light, dark, or as the system has it.

const KEY = 'inglenook:theme';
const ORDER = /** @type {const} */ (['system', 'light', 'dark']);

/** @typedef {typeof ORDER[number]} Theme */

export const theme = {
  /** @returns {Theme} */
  get now() {
    const kept = /** @type {Theme} */ (read());
    return ORDER.includes(kept) ? kept : 'system';
  },

  /** @param {Theme} value */
  set(value) {
    document.documentElement.dataset.theme = value;
    try {
      localStorage.setItem(KEY, value);
    } catch {
      // storage is refused: it lasts as long as the page
    }
  },

  /** @returns {Theme} the one after this */
  next() {
    const value = ORDER[(ORDER.indexOf(theme.now) + 1) % ORDER.length];
    theme.set(value);
    return value;
  },
};

function read() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

document.documentElement.dataset.theme = theme.now;
