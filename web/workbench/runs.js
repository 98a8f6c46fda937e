// What the workbench keeps in this browser: rows of answers, runs that may go on, and the files they need.

import { openStore } from '../lib/store.js';

const NAME = 'workbench/runs'; // platform/browser/workbench/rows.py
const ROW = 'row/';
const RUN = 'run/';
const FILE = 'file/';
const HISTORY = 'history/';
/** A row as `evals.rows` writes it. */
const LINE = /^\{"key":"([0-9a-f]{32})",.*\}\}$/;
/** Rows that are taken in by one commit. */
const BATCH = 500;

/** @typedef {'running' | 'stopped' | 'done' | 'failed'} State */
/** @typedef {{ word: string, tone: string }} Badge */
/** @typedef {{ title: string, columns: string[], rows: any[][], note: string }} Table */
/** @typedef {{ text: string, name: string, tone: string }} Mark */
/** @typedef {{ title: string, texts: Array<[string, Mark[]]>, note: string }} Passage */
/**
 * What a run found (workbench/desk.py). @typedef {object} Report
 * @property {string} title @property {Badge | null} badge @property {string} note @property {Array<Table | Passage>} parts
 * @property {string} html all of it as a file @property {string} prompt that came of it @property {string} lock its evidence
 */
/**
 * A job and how far it came. @typedef {object} Run
 * @property {string} id @property {string} job @property {string} title @property {any} told what the job was told
 * @property {State} state @property {number} at when it was begun @property {number} done @property {number} total
 * @property {string} [why] it failed @property {Report} [report]
 */

const text = new TextDecoder();
const bytes = (/** @type {any} */ value) => new TextEncoder().encode(JSON.stringify(value));

export class Runs {
  /** Another tab has released something. */
  onrelease = () => {};

  /** @param {import('../lib/store.js').Store} store */
  constructor(store) {
    this.store = store;
    store.changes(({ keys }) => {
      if (keys.some((key) => key.startsWith(HISTORY))) this.onrelease();
    });
  }

  static async open() {
    return new Runs(await openStore(NAME));
  }

  /** All, newest first. What ran when its tab went away is stopped. @returns {Promise<Run[]>} */
  async list() {
    const { pages } = await this.store.scan(RUN);
    const runs = /** @type {Run[]} */ (pages.map((page) => JSON.parse(text.decode(page))));
    for (const run of runs) if (run.state === 'running') run.state = 'stopped';
    return runs.sort((a, b) => b.at - a.at);
  }

  /** @param {Run} run */
  save(run) {
    return this.store.commit([RUN + run.id], [bytes(run)], []);
  }

  /** Forget a run, not its answers; files that no other needs go too. @param {Run} run */
  async forget(run) {
    const others = (await this.list()).filter(({ id }) => id !== run.id);
    const needed = new Set(others.flatMap(({ told }) => (told.files ?? []).map((/** @type {any} */ file) => file.key)));
    const gone = (run.told.files ?? []).map((/** @type {any} */ file) => file.key);
    await this.store.commit([], [], [RUN + run.id, ...gone.filter((/** @type {string} */ key) => !needed.has(key))]);
  }

  /** Keep a file for runs. @param {File} file @returns {Promise<{ path: string, key: string }>} where it lies */
  async keep(file) {
    const data = new Uint8Array(await file.arrayBuffer());
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    const key = FILE + Array.from(hash.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('');
    await this.store.commit([key], [data], []);
    const folder = file.webkitRelativePath.split('/').at(-2);
    return { path: folder ? `${folder}/${file.name}` : file.name, key };
  }

  /** What was released of a prompt: lines of JSON, as `inglenook prompt diff --release` keeps them. @param {string} name */
  async history(name) {
    const [page] = await this.store.get([HISTORY + name]);
    return page ? text.decode(page) : '';
  }

  /**
   * Add to it. Throws NookError 'conflict' where it is not as it was `before`.
   * @param {string} name @param {string} before @param {string} line
   */
  async release(name, before, line) {
    const [key, encoder] = [HISTORY + name, new TextEncoder()];
    const expected = { keys: [key], pages: [before ? encoder.encode(before) : null] };
    await this.store.commit([key], [encoder.encode(before + line)], [], expected);
  }

  /** How many answers are kept. */
  count() {
    return this.store.count(ROW);
  }

  /** All rows as a JSONL file, put together a portion at a time. @returns {Promise<Blob>} */
  async rows() {
    let all = new Blob([]);
    for await (const { pages } of this.store.walk(ROW)) all = new Blob([all, .../** @type {BlobPart[]} */ (pages)]);
    return all;
  }

  /** Take in the rows of such a file. @param {Blob} file @returns {Promise<[number, number]>} rows, and lines that are none */
  async take(file) {
    let [rest, taken, others] = ['', 0, 0];
    /** @type {Map<string, string>} */
    let batch = new Map();
    const commit = async () => {
      await this.store.commit(
        [...batch.keys()].map((key) => ROW + key),
        [...batch.values()].map((line) => new TextEncoder().encode(`${line}\n`)),
        [],
      );
      taken += batch.size;
      batch = new Map();
    };
    const see = async (/** @type {string} */ line) => {
      const key = LINE.exec(line)?.[1];
      if (key) batch.set(key, line);
      else others += Number(Boolean(line.trim()));
      if (batch.size >= BATCH) await commit();
    };
    for await (const piece of file.stream().pipeThrough(new TextDecoderStream())) {
      const lines = (rest + piece).split('\n');
      rest = /** @type {string} */ (lines.pop());
      for (const line of lines) await see(line);
    }
    await see(rest);
    await commit();
    return [taken, others];
  }

  /** Forget every answer. */
  async clear() {
    for await (const { keys } of this.store.walk(ROW)) await this.store.commit([], [], keys);
  }
}
