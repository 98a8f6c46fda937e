// The link to an engine on a server: the same messages over a WebSocket.

import { NookError } from './errors.js';
import { decode, encode } from './frames.js';

/** What this page speaks; a server that speaks only something else refuses the connection. */
const SUBPROTOCOL = 'inglenook.v1';

/** @typedef {import('./client.js').Link} Link */

/** The server of the site this page came from. @param {string} [path] */
export function serverUrl(path = '/ws') {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url;
}

/** @param {URL} url @param {number} [patience] milliseconds to wait for the connection @returns {Link} */
export function serverLink(url, patience = 8000) {
  const socket = new WebSocket(url, SUBPROTOCOL);
  socket.binaryType = 'arraybuffer';
  /** @type {Array<string | Uint8Array<ArrayBuffer>>} */
  const waiting = [];
  let over = false;
  /** @type {Link} */
  const link = {
    post: (message) => {
      const frame = encode(message);
      if (socket.readyState === WebSocket.OPEN) socket.send(frame);
      else waiting.push(frame);
    },
    close: () => {
      over = true;
      clearTimeout(timer);
      socket.close(1000);
    },
    onmessage: () => {},
    onclose: () => {},
  };
  /** @param {string} message */
  const lose = (message) => {
    if (over) return;
    link.close();
    link.onclose(new NookError('server-gone', message, 'This tab answers by itself.'));
  };
  const timer = setTimeout(() => {
    if (socket.readyState === WebSocket.CONNECTING) lose('The server did not answer.');
  }, patience);
  socket.onopen = () => {
    for (const frame of waiting.splice(0)) socket.send(frame);
  };
  socket.onmessage = ({ data }) => {
    try {
      link.onmessage(decode(data));
    } catch {
      lose('The server sent something that could not be read.');
    }
  };
  socket.onerror = () => lose('The server could not be reached.');
  socket.onclose = (event) => lose(event.reason ? `The server left: ${event.reason}.` : 'The server left.');
  return link;
}
