// The workbench: prompts as software, fairness, and the engine's doctor, on this tab's own model. It comes when it is
// opened (app/workshop.js), so that who only searches never loads it.

import { BASE } from './base.js';
import { download, fill, h, icon } from './lib/dom.js';
import { count } from './lib/format.js';
import { Bench } from './workbench/bench.js';
import { Doctor } from './workbench/doctor.js';
import { Fairness } from './workbench/fairness.js';
import { Prompts } from './workbench/prompts.js';
import { Runs } from './workbench/runs.js';
import { pick } from './workbench/tables.js';

const PARTS = /** @type {const} */ (['Prompts', 'Fairness', 'Doctor']);

/**
 * @param {HTMLElement} element where it goes
 * @param {{ close: () => void, off: () => boolean, levels: () => Promise<Array<{ ratio: number }>>,
 *   toasts: { fail(error: unknown): void, say(message: string): void } }} page
 */
export async function workbench(element, { close, off, levels, toasts }) {
  await styled();
  const runs = await Runs.open();
  const bench = new Bench(off);
  const kept = h('p', { class: 'fine' });
  const facts = h('p', { class: 'facts', role: 'status' });
  const counted = async () => {
    kept.textContent = `${count(await runs.count(), 'answer')} kept in this browser${runs.store.status === 'stored' ? '' : ' until this tab closes'}`;
  };
  const changed = () => void counted().catch(toasts.fail);
  const shop = { bench, runs, toasts, changed };
  const panels = [new Prompts(shop), new Fairness(shop), new Doctor(shop)];
  bench.addEventListener('say', () => {
    facts.textContent = bench.loading;
  });

  const title = h('h2', { tabIndex: -1 }, 'Workbench');
  const tabs = PARTS.map((name, i) =>
    h(
      'button',
      {
        type: 'button',
        role: 'tab',
        id: `bench-tab-${i}`,
        'aria-controls': `bench-part-${i}`,
        on: { click: () => choose(i) },
      },
      name,
    ),
  );
  const parts = panels.map((panel, i) =>
    h('div', { role: 'tabpanel', id: `bench-part-${i}`, 'aria-labelledby': `bench-tab-${i}` }, panel.element),
  );
  const choose = (/** @type {number} */ chosen) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute('aria-selected', String(i === chosen));
      tab.tabIndex = i === chosen ? 0 : -1;
      parts[i].hidden = i !== chosen;
    });
    panels[chosen].show();
  };
  const list = h('div', { role: 'tablist', class: 'bench-tabs', 'aria-label': 'Workbench' }, ...tabs);
  list.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -9, End: 9 }[event.key];
    if (!step) return;
    event.preventDefault();
    const now = tabs.findIndex((tab) => tab.tabIndex === 0);
    const next = Math.abs(step) > 1 ? (step > 0 ? tabs.length - 1 : 0) : (now + step + tabs.length) % tabs.length;
    choose(next);
    tabs[next].focus();
  });

  const small = (/** @type {string} */ label, /** @type {() => Promise<void>} */ act, /** @type {any} */ sign) =>
    h(
      'button',
      { type: 'button', class: 'small', on: { click: () => act().then(changed, toasts.fail) } },
      icon(sign),
      label,
    );
  const take = async () => {
    const [file] = await pick({ accept: '.jsonl' });
    if (!file) return;
    const [rows, others] = await runs.take(file);
    toasts.say(`${count(rows, 'answer')} taken in${others ? `; ${count(others, 'line')} were none` : ''}.`);
  };
  const past = await runs.list();
  await counted();
  fill(
    element,
    h(
      'header',
      {},
      title,
      facts,
      h(
        'button',
        { type: 'button', class: 'plain', 'aria-label': 'Close the workbench', on: { click: close } },
        icon('close'),
      ),
    ),
    list,
    ...parts,
    h(
      'footer',
      { class: 'bench-foot' },
      kept,
      small(
        'Export rows',
        async () => download(new File([await runs.rows()], 'rows.jsonl', { type: 'application/jsonl' })),
        'down',
      ),
      small('Bring rows', take, 'up'),
      small('Forget all answers', () => runs.clear(), 'trash'),
    ),
  );
  for (const panel of panels) panel.fill(past);
  choose(0); // at once: a part chosen by hand stays
  return {
    /** It is shown. */
    show: () => {
      title.focus({ preventScroll: true });
      levels().then((found) => {
        for (const panel of panels) panel.levels(found);
      }, toasts.fail);
    },
    /** It is hidden: what runs goes on, and else its memory comes back. */
    hide: () => {
      if (!bench.busy) bench.end();
    },
  };
}

/** Its styles, once they are there. */
function styled() {
  const sheet = h('link', { rel: 'stylesheet', href: new URL('css/workbench.css', BASE).href });
  const there = new Promise((resolve) => {
    for (const event of ['load', 'error']) sheet.addEventListener(event, resolve);
  });
  document.head.append(sheet);
  return there;
}
