// A server that speaks OpenAI's chat completions, asked from the page, as far as the page's policy lets it.

import { NookError } from '../lib/errors.js';

const PATH = '/chat/completions';

/** Where its completions are: the address with or without /v1 and what follows it. @param {string} said */
export function completions(said) {
  const url = new URL(said);
  const path = url.pathname.replace(/\/+$/, '');
  if (!path.endsWith(PATH)) url.pathname = `${path.endsWith('/v1') ? path : `${path}/v1`}${PATH}`;
  return url;
}

/**
 * Why this page may not connect to an address, '' if its own policy allows it. (A policy in the server's headers is not
 * told to pages; what it forbids fails as a server does that is not there.)
 * @param {string} said
 */
export function forbidden(said) {
  let url;
  try {
    url = completions(said);
  } catch {
    return `That is no address. It looks like ${location.origin}/v1.`;
  }
  const meta = document.querySelector('meta[http-equiv=Content-Security-Policy]')?.getAttribute('content') ?? '';
  const rules = new Map(
    meta.split(';').map((rule) => [rule.trim().split(/\s+/)[0], rule.trim().split(/\s+/).slice(1)]),
  );
  const sources = rules.get('connect-src') ?? rules.get('default-src');
  const fits = (/** @type {string} */ source) =>
    source === '*' ||
    (source === "'self'" && url.origin === location.origin) ||
    source.replace(/\/$/, '') === url.origin;
  if (!sources || sources.some(fits)) return '';
  return `This page may not connect to ${url.origin}: its policy says connect-src ${sources.join(' ')}, so that nothing can leave the tab. Serve the page from there, or have whoever serves it name that address in the policy of index.html; or run it on a machine: inglenook prompt test, inglenook eval fairness.`;
}

/**
 * Make a request; `hear` gets the answer's body as it comes. Resolves to its status.
 * @param {{ url: string, key: string, body: string }} told @param {AbortSignal} signal
 * @param {(piece: Uint8Array<ArrayBuffer>) => void} hear
 */
export async function answers({ url, key, body }, signal, hear) {
  const why = forbidden(url);
  if (why) throw new NookError('refused', why, '');
  const headers = { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) };
  const response = await fetch(completions(url), { method: 'POST', headers, body, signal, credentials: 'omit' }).catch(
    (error) => {
      signal.throwIfAborted();
      const hint = 'Is it running, does it allow this page (CORS), and does the policy of this site?';
      throw new NookError('unreachable', `${url} cannot be reached: ${error.message}.`, hint);
    },
  );
  const reader = response.body?.getReader();
  for (let step = await reader?.read(); step && !step.done; step = await reader?.read()) hear(step.value);
  return response.status;
}
