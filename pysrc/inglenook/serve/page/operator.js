// The figures of a server, once a second. A key that it asks for stays in this page's memory.

const EVERY = 1000;
const SHOWN = 120;

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
/** @type {number[]} */ const rates = [];
/** @type {{ at: number, pieces: number } | undefined} */ let last;
let key = '';

/** @param {string} tag @param {...(Node | string)} children */
function h(tag, ...children) {
  const element = document.createElement(tag);
  element.append(...children);
  return element;
}

/** @param {number} ms */
const time = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
/** @param {number} seconds */
const span = (seconds) =>
  seconds < 120 ? `${Math.round(seconds)} s` : `${Math.floor(seconds / 60) % 60} min, ${Math.floor(seconds / 3600)} h`;
/** @param {{ p50: number, p99: number } | null} spread */
const both = (spread) =>
  spread ? `${spread.p99 < 1000 ? Math.round(spread.p50) : time(spread.p50)}, ${time(spread.p99)}` : '–';
/** @param {{ promised: number, met: number }} slo */
const kept = ({ promised, met }) => (promised ? `${Math.round((100 * met) / promised)} % of ${promised}` : '–');
/** @param {(string | number)[]} cells */
const row = (cells) => h('tr', ...cells.map((cell) => h('td', String(cell))));

async function look() {
  try {
    const answer = await fetch('../metrics.json', {
      headers: key ? { authorization: `Bearer ${key}` } : {},
      cache: 'no-store',
    });
    $('door').hidden = answer.status !== 401;
    if (answer.status === 401) {
      $('room').hidden = true;
      $('state').textContent = key ? 'This key is wrong.' : 'The server asks for its key.';
      return;
    }
    draw(await answer.json());
  } catch {
    $('state').textContent = 'The server does not answer; these are the last figures it gave.';
    last = undefined;
  }
  setTimeout(look, EVERY);
}

/** @param {any} told */
function draw(told) {
  $('room').hidden = false;
  $('state').textContent = `Inglenook ${told.version}, up for ${span(told.uptime_s)}`;
  const queued = told.workers.reduce((/** @type {number} */ sum, /** @type {any} */ w) => sum + w.queued, 0);
  figures({
    Connections: told.connections,
    'Away, may come back': told.away,
    'Requests under way': told.open,
    Queued: queued,
    'Latency kept, 5 minutes': kept(told.slo),
    'First token: median, p99': both(told.first_ms),
    'Each token: median, p99': both(told.token_ms),
    'Answers, 5 minutes': told.answers,
  });
  pace(told.uptime_s, told.pieces);
  $('workers').replaceChildren(...told.workers.map(worker));
  $('models').replaceChildren(
    ...told.models.map((/** @type {any} */ m) =>
      row([m.model, m.answers, both(m.first_ms), both(m.token_ms), kept(m.slo)]),
    ),
  );
  $('requests').replaceChildren(...told.requests.map(row));
}

/** @param {Record<string, string | number>} values */
function figures(values) {
  const boxes = Object.entries(values).map(([name, value]) => h('div', h('dt', name), h('dd', String(value))));
  $('figures').replaceChildren(...boxes);
}

/** @param {number} at seconds @param {number} pieces */
function pace(at, pieces) {
  if (last && at > last.at) rates.push(Math.max(0, pieces - last.pieces) / (at - last.at));
  if (rates.length > SHOWN) rates.shift();
  last = { at, pieces };
  const top = Math.max(1, ...rates);
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  const points = rates.map((rate, i) => `${SHOWN - rates.length + i} ${(28 - (26 * rate) / top).toFixed(2)}`);
  if (points.length > 1) path.setAttribute('d', `M${points.join('L')}`);
  $('pace').replaceChildren(path);
  $('pace-now').textContent = rates.length ? `${Math.round(rates.at(-1) ?? 0)} now, ${Math.round(top)} at most` : '';
}

/** @param {any} told */
function worker({ name, model, state, running, queued, used, pages }) {
  const meter = Object.assign(document.createElement('meter'), { max: pages || 1, value: used });
  meter.setAttribute('aria-label', `KV pages in use by ${name}`);
  const shown = row([name, model, state, running, queued]);
  shown.append(h('td', meter, ` ${used} of ${pages}`));
  return shown;
}

// A table wider than the screen scrolls in its section, which the keyboard must reach.
for (const section of document.querySelectorAll('section:has(table)')) section.setAttribute('tabindex', '0');

$('door').addEventListener('submit', (/** @type {Event} */ event) => {
  event.preventDefault();
  key = $('key').value.trim();
  look();
});
look();

export {};
