// The link to an engine on a server: the same messages over a WebSocket. When the connection is lost another one takes
// its place, and goes on where the first one was.

import { NookError } from './errors.js';
import { decode, encode } from './frames.js';
import { Tally } from './tally.js';

/** What this page speaks; a server that speaks only something else refuses the connection. */
const SUBPROTOCOL = 'inglenook.v1';
/** Milliseconds: how long a connection may take, and how long one is looked for before the server counts as gone. */
const PATIENCE = 8000;
/** Milliseconds before the first try after one that failed, twice as many before the next, and so on; in half random. */
const BACK_OFF = 100;
const LONGEST = 3000;
/** Milliseconds until what has come is acknowledged, where nothing else makes it known before. */
const LATER = 250;
/** RFC 6455, 7.4: the server is stopped or started anew, so it is looked for at once; these others are its last word. */
const RESTARTS = [1001, 1012];
const FINAL = [1002, 1007, 1008, 1009, 4001];
const HINT = 'This tab answers by itself.';

/** @typedef {import('./client.js').Link} Link */

/** The server of the site this page came from. @param {string} [path] */
export function serverUrl(path = '/ws') {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url;
}

/**
 * @param {URL} url @param {string} [key] what the server asks for, if it does; it goes into no URL
 * @param {number} [patience] @returns {Link}
 */
export function serverLink(url, key = '', patience = PATIENCE) {
  const tally = new Tally();
  /** @type {WebSocket | undefined} */ let socket;
  let over = false;
  let met = false; // there was a server
  let tries = 0;
  let since = performance.now(); // when there was a connection, or the first was asked for
  /** @type {ReturnType<typeof setTimeout>} */ let timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let later;

  /** @type {Link} */
  const link = {
    post: (message) => {
      tally.post(/** @type {any} */ (message));
      flush();
    },
    close: () => {
      over = true;
      clearTimeout(timer);
      clearTimeout(later);
      socket?.close(1000);
    },
    onmessage: () => {},
    onclose: () => {},
  };

  /** @param {string} message @param {string} [code] */
  const lose = (message, code = 'server-gone') => {
    if (over) return;
    link.close();
    link.onclose(new NookError(code, message, code === 'key' ? 'Ask whoever runs the server for it.' : HINT));
  };

  const flush = () => {
    if (socket?.readyState !== WebSocket.OPEN) return;
    for (const message of tally.take()) socket.send(encode(message));
    if (tally.owes) later ??= setTimeout(acknowledge, LATER);
  };

  const acknowledge = () => {
    later = undefined;
    tally.acknowledge();
    flush();
  };

  /** @param {string} message @param {number} [code] */
  const drop = (message, code = 0) => {
    clearTimeout(timer);
    socket = undefined;
    tally.lose();
    const spent = performance.now() - since;
    if (over) return;
    if (!met || !tally.kept || FINAL.includes(code) || !tally.busy || spent > patience) lose(message);
    else {
      const wait = tries || !RESTARTS.includes(code) ? Math.min(LONGEST, BACK_OFF * 2 ** tries) : 0;
      tries++;
      timer = setTimeout(connect, wait * (0.5 + Math.random() / 2));
    }
  };

  const connect = () => {
    if (!key) return begin([SUBPROTOCOL]);
    ticket(url, key, patience).then(
      (ticket) => !over && begin([SUBPROTOCOL, `ticket.${ticket}`]),
      (error) => (error.code === 'key' ? lose(error.message, 'key') : drop('The server could not be reached.')),
    );
  };

  /** @param {string[]} protocols */
  const begin = (protocols) => {
    const opened = new WebSocket(url, protocols);
    const mine = () => socket === opened;
    socket = opened;
    opened.binaryType = 'arraybuffer';
    timer = setTimeout(() => {
      if (!mine()) return;
      drop('The server did not answer.');
      opened.close();
    }, patience);
    opened.onopen = () => {
      met = true;
      tally.begin();
      flush();
    };
    opened.onmessage = ({ data }) => {
      if (!mine()) return;
      clearTimeout(timer);
      since = performance.now();
      tries = 0;
      try {
        const { message, gone } = tally.hear(decode(data));
        if (gone) lose('The server was started anew.');
        else if (message) link.onmessage(message);
      } catch {
        lose('The server sent something that could not be read.');
      }
      flush();
    };
    opened.onerror = () => mine() && drop('The server could not be reached.');
    opened.onclose = ({ code, reason }) =>
      mine() && drop(reason ? `The server left: ${reason}.` : 'The server left.', code);
  };

  connect();
  return link;
}

/**
 * What stands for the key once, since a page cannot send one with a WebSocket.
 * @param {URL} url @param {string} key @param {number} patience
 */
async function ticket(url, key, patience) {
  const place = new URL('ticket', url);
  place.protocol = url.protocol === 'wss:' ? 'https:' : 'http:';
  const headers = { authorization: `Bearer ${key}` };
  const signal = AbortSignal.timeout(patience);
  const answer = await fetch(place, { method: 'POST', headers, signal, cache: 'no-store' });
  if (answer.status === 401) throw new NookError('key', 'The server does not take this key.');
  if (!answer.ok) throw new NookError('server-gone', 'The server gave no ticket.');
  return (await answer.json()).ticket;
}
