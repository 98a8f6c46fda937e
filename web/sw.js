// Between this site's pages and the network: offline, the ledger, and the switch that forbids requests.
//
// The shell (pages, modules, styles): where the build listed it (group "shell" in assets.json), one version at a time is
// served whole from the cache, and a new version replaces it at once when all of it has arrived. Without a list (while
// developing) the network comes first and the cache stands in. Big files are checked against assets.json by those who
// fetch them (lib/assets.js) and kept in one cache with this worker, keyed by content, so nothing is stored twice.

/** @type {any} */
const sw = self;
const HOME = new URL('./', sw.location.href);
const LIST = new URL('static/assets.json', HOME).href;
const ASSETS = 'inglenook-assets';
const SHELL = 'inglenook-shell-';
const LOOSE = 'inglenook-loose';
const STATE = 'inglenook-state';
const CHANNEL = new BroadcastChannel('inglenook-network');
/** Entries the ledger can still ask for. */
const RECENT = 400;

/** @typedef {{ path: string, size: number, sha256: string, group: string }} Asset */

// ── state ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** @type {Promise<{ off: boolean, shell: string }>} the switch and the current shell, kept across restarts */
let state = recall();
/** @type {any[]} */
const recent = [];

async function recall() {
  const kept = await (await caches.open(STATE)).match('state');
  return kept ? kept.json() : { off: false, shell: '' };
}

/** @param {Partial<{ off: boolean, shell: string }>} change */
async function remember(change) {
  const next = { ...(await state), ...change };
  state = Promise.resolve(next);
  await (await caches.open(STATE)).put('state', Response.json(next));
}

// ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

sw.addEventListener('install', (/** @type {any} */ event) => {
  event.waitUntil(sw.skipWaiting()); // in charge at once; what it keeps comes in beside the first visit
});

sw.addEventListener('activate', (/** @type {any} */ event) => {
  event.waitUntil(sw.clients.claim());
});

sw.addEventListener('message', (/** @type {any} */ event) => {
  const { type, off, since } = event.data;
  if (type === 'switch') event.waitUntil(turn(off));
  if (type === 'hello') event.waitUntil(hello(since));
});

/** @param {boolean} off */
async function turn(off) {
  await remember({ off });
  CHANNEL.postMessage({ type: 'state', off });
}

/** A page began: tell it what it missed, and look for a new version. @param {number} since */
async function hello(since) {
  const { off } = await state;
  CHANNEL.postMessage({ type: 'state', off });
  for (const entry of recent) if (entry.at >= since) CHANNEL.postMessage({ type: 'entry', entry });
  if (off) return;
  updating = updating.then(update).catch(() => {}); // offline, or a broken release: the old one stays
  await updating;
}

// ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────

/** @type {Promise<Map<string, Asset>> | undefined} */
let listed;

/** The assets of the current release, as last seen. @returns {Promise<Map<string, Asset>>} */
function assets() {
  listed ??= caches
    .open(ASSETS)
    .then((cache) => cache.match(LIST))
    .then(index);
  return listed;
}

/** @param {Response} response */
async function list(response) {
  await (await caches.open(ASSETS)).put(LIST, response);
  listed = undefined;
}

/** @param {Response | undefined} response @returns {Promise<Map<string, Asset>>} */
async function index(response) {
  if (!response?.ok) return new Map();
  const { files } = await response.json();
  return new Map(files.map((/** @type {Asset} */ file) => [file.path, file]));
}

/** One update at a time. */
let updating = Promise.resolve();

/** Take a new release, all of it or nothing. */
async function update() {
  const response = await look(LIST).catch(() => undefined);
  if (!response?.ok) return;
  const copy = response.clone();
  const files = await index(response);
  await list(copy); // files are kept by content, so a list that is ahead of the shell does no harm
  const shell = [...files.values()].filter((file) => file.group === 'shell');
  const version = shell.length ? SHELL + (await digest(shell.map((file) => file.path + file.sha256).join())) : '';
  const current = (await state).shell;
  if (version && version !== current) {
    const next = await caches.open(version);
    const old = current ? await caches.open(current) : undefined;
    try {
      for (const file of shell) await take(file, next, old);
    } catch (error) {
      await caches.delete(version);
      throw error;
    }
  }
  await remember({ shell: version });
  await sweep(version, files);
}

/** One file of the shell, from the old version if it is the same. @param {Asset} file @param {Cache} next @param {Cache | undefined} old */
async function take(file, next, old) {
  const url = new URL(file.path, HOME).href;
  const kept = await old?.match(url);
  if (kept && (await digest(await kept.clone().arrayBuffer())) === file.sha256) return next.put(url, kept);
  const response = await look(url);
  if (!response.ok || (await digest(await response.clone().arrayBuffer())) !== file.sha256) {
    throw new Error(`${file.path} is not the file of this release.`);
  }
  await next.put(url, response);
}

/** A request of the service worker's own: it stands in the ledger too. @param {string} url */
async function look(url) {
  const response = await fetch(url, { cache: 'no-cache' });
  tell({
    at: Date.now(),
    url,
    from: 'network',
    who: 'service worker',
    status: response.status,
    size: Number(response.headers.get('content-length') ?? 0),
  });
  return response;
}

/** What no release needs any more goes. @param {string} version @param {Map<string, Asset>} files */
async function sweep(version, files) {
  for (const name of await caches.keys()) if (name.startsWith(SHELL) && name !== version) await caches.delete(name);
  const known = new Set([...files.values()].flatMap((/** @type {any} */ file) => [file.sha256, ...(file.parts ?? [])]));
  const cache = await caches.open(ASSETS);
  for (const request of await cache.keys()) {
    const hash = new URL(request.url).searchParams.get('sha256');
    if (hash && !known.has(hash)) await cache.delete(request);
  }
}

// ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

sw.addEventListener('fetch', (/** @type {any} */ event) => {
  const { request } = event;
  if (!/^https?:/.test(request.url)) return;
  event.respondWith(answer(event));
});

/** @param {any} event @returns {Promise<Response>} */
async function answer(event) {
  const { request } = event;
  const { off } = await state;
  const kept = request.method === 'GET' ? await stored(request) : undefined;
  const who = request.mode === 'navigate' ? 'page' : request.destination || 'fetch';
  const note = (/** @type {string} */ from, /** @type {Response} */ response) => {
    tell({
      at: Date.now(),
      url: request.url,
      from,
      who,
      status: response.status,
      size: Number(response.headers.get('content-length') ?? 0),
    });
    return response;
  };
  if (kept && (off || kept.sure)) return note('cache', kept.response);
  if (off) return note('blocked', refused());
  try {
    const response = await fetch(request);
    const keeping = request.method === 'GET' ? keep(request, response.clone()) : undefined;
    if (request.url === LIST)
      await keeping; // what is fetched next is looked up in it
    else event.waitUntil(keeping);
    return note('network', response);
  } catch (error) {
    if (kept) return note('cache', kept.response);
    tell({ at: Date.now(), url: request.url, from: 'network', who, status: 0, size: 0 });
    throw error;
  }
}

/** What is stored for a request; `sure` when the network need not be asked. @param {Request} request */
async function stored(request) {
  const url = new URL(request.url);
  if (url.origin !== HOME.origin) return undefined;
  const { shell } = await state;
  const plain = url.origin + (url.pathname.endsWith('/') ? `${url.pathname}index.html` : url.pathname);
  if (shell) {
    const response = await (await caches.open(shell)).match(plain);
    if (response) return { response, sure: true };
  }
  if (request.headers.has('range')) return undefined; // lib/assets.js keeps its own parts
  const asset = (await assets()).get(path(url));
  const cache = await caches.open(ASSETS);
  if (asset && asset.group !== 'shell') {
    const response = await cache.match(key(asset));
    if (response) return { response: headed(response, url), sure: true };
    return undefined;
  }
  if (request.url === LIST) {
    const response = await cache.match(LIST);
    return response && { response, sure: false };
  }
  const response = await (await caches.open(LOOSE)).match(plain);
  return response && { response, sure: false };
}

/** @param {Request} request @param {Response} response */
async function keep(request, response) {
  const url = new URL(request.url);
  if (
    url.origin !== HOME.origin ||
    response.status !== 200 ||
    response.type !== 'basic' ||
    request.headers.has('range')
  )
    return;
  try {
    const asset = (await assets()).get(path(url));
    if (asset && asset.group !== 'shell') {
      if ((await digest(await response.clone().arrayBuffer())) === asset.sha256)
        await (await caches.open(ASSETS)).put(key(asset), response);
    } else if (request.url === LIST) await list(response);
    else if (!url.pathname.endsWith('.nook')) {
      const plain = url.origin + (url.pathname.endsWith('/') ? `${url.pathname}index.html` : url.pathname);
      await (await caches.open(LOOSE)).put(plain, response);
    }
  } catch {
    // storage is full or refused: the page works, but not offline
  }
}

/** @param {URL} url */
const path = (url) => url.href.slice(0, url.href.length - url.search.length - url.hash.length).slice(HOME.href.length);

/** @param {Asset} asset */
const key = (asset) => new URL(`${asset.path}?sha256=${asset.sha256}`, HOME).href;

const TYPES = /** @type {Record<string, string>} */ ({
  mjs: 'text/javascript',
  js: 'text/javascript',
  wasm: 'application/wasm',
  json: 'application/json',
});

/** A file kept as bare bytes gets its type and the isolation headers back. @param {Response} response @param {URL} url */
function headed(response, url) {
  if (response.headers.has('cross-origin-embedder-policy')) return response;
  const headers = new Headers(response.headers);
  const type = TYPES[url.pathname.split('.').at(-1) ?? ''];
  if (type) headers.set('content-type', type);
  else if (!headers.has('content-type')) headers.set('content-type', 'application/octet-stream');
  headers.set('cross-origin-embedder-policy', 'require-corp');
  headers.set('cross-origin-resource-policy', 'cross-origin');
  return new Response(response.body, { status: response.status, headers });
}

function refused() {
  return new Response('The network is switched off in Inglenook, and this is not stored on the device.', {
    status: 503,
    statusText: 'Network off',
    headers: {
      'content-type': 'text/plain',
      'cross-origin-embedder-policy': 'require-corp',
      'cross-origin-resource-policy': 'same-origin',
    },
  });
}

/** @param {object} entry */
function tell(entry) {
  recent.push(entry);
  if (recent.length > RECENT) recent.shift();
  CHANNEL.postMessage({ type: 'entry', entry });
}

/** @param {string | ArrayBuffer} data */
async function digest(data) {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
