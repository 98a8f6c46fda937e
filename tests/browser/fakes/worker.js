// A small scripted engine behind the real protocol, so the page can be tested in states a real engine rarely shows.
// It really stores, cuts and finds by words; what it writes is scripted. Special names and questions:
//   files: locked.pdf is encrypted, full.txt meets a full disk, many.txt reports progress until it is stopped
//   map: a topic for each collection; with slow.md in the library it takes until it is stopped, with unlearnt.md there are
//   no vectors yet, with noscience.md it cannot be made
//   levels: five of them, not measured until asked to; nothing can begin within 0.25 s
//   a server that may write is asked to within 0.5 s: this tab takes 2.1 s
//   questions: with "zebra" nothing is found; with "slowly" tokens come until Cancel; with "crash" the worker dies

import { alive } from './lib/vital.js';

/** @type {Map<string, any>} */
const docs = new Map();
let opened = '';
const tick = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));
const id = (text) => [...text].reduce((h, c) => (Math.imul(h, 31) + c.codePointAt(0)) >>> 0, 7).toString(16);
const points = (text) => [...text].length;

function cut(text) {
  const chunks = [];
  let heading = '';
  let at = 0;
  for (const part of text.split(/\n{2,}/)) {
    const start = text.indexOf(part, at);
    at = start + part.length;
    if (part.startsWith('# ')) heading = part.slice(2);
    else if (part.trim()) {
      const from = points(text.slice(0, start));
      chunks.push({ start: from, end: from + points(part), page: null, heading, kind: 'text', text: part });
    }
  }
  return chunks;
}

function store(upload) {
  const text = new TextDecoder().decode(upload.data);
  const document = id(`${upload.collection} ${upload.path}`);
  const old = docs.get(document);
  const ext = upload.path.split('.').at(-1);
  const type = { md: 'markdown', py: 'code', html: 'html', csv: 'csv', pdf: 'pdf' }[ext] ?? 'text';
  const pages = type === 'pdf' ? [0, Math.floor(points(text) / 2)] : [];
  const chunks = cut(text);
  for (const chunk of chunks) if (pages.length) chunk.page = chunk.start >= pages[1] ? 2 : 1;
  const title = /^# (.*)$/m.exec(text)?.[1] ?? '';
  const card = {
    document,
    path: upload.path,
    title,
    collection: upload.collection,
    type,
    size: upload.data.length,
    modified: upload.modified,
    added: 1.7e9,
    chunks: chunks.length,
    vectors: !upload.path.endsWith('unlearnt.md') ? chunks.length : 0,
    pages: pages.length,
    language: 'en',
  };
  docs.set(document, { card, text, chunks, pages });
  return { type: 'Added', card, replaced: Boolean(old), unchanged: old?.text === text, warnings: [] };
}

function find(query, k, filter = {}) {
  const words = query.toLowerCase().match(/[\p{L}\p{N}]{3,}/gu) ?? [];
  const hits = [];
  for (const { card, chunks } of docs.values()) {
    if (filter.collections?.length && !filter.collections.includes(card.collection)) continue;
    if (filter.types?.length && !filter.types.includes(card.type)) continue;
    if (filter.after && card.modified < filter.after) continue;
    chunks.forEach((chunk, i) => {
      const marks = words.flatMap((word) =>
        [...chunk.text.toLowerCase().matchAll(new RegExp(word, 'gu'))].map((m) => {
          const start = chunk.start + points(chunk.text.slice(0, m.index));
          return { start, end: start + points(word) };
        }),
      );
      if (!marks.length || query.includes('zebra')) return;
      const { document, path, title, collection, type } = card;
      hits.push({
        document,
        chunk: i,
        path,
        title,
        collection,
        type,
        ...chunk,
        score: marks.length / 60,
        lexical: marks.length * 1.5,
        vector: null,
        marks,
      });
    });
  }
  hits.sort((a, b) => b.score - a.score);
  return { type: 'Hits', hits: hits.slice(0, k), arms: ['lexical', 'vector'], ms: 3.2, embed_ms: 1.1 };
}

async function* add({ files }, signal) {
  for (const [i, file] of files.entries()) {
    if (file.path.endsWith('full.txt')) {
      throw {
        code: 'quota',
        message: 'There is no room left for this library.',
        hint: 'Remove documents, or free disk space.',
      };
    }
    for (let n = 0; file.path.endsWith('many.txt') && !signal.aborted; n++) {
      yield { type: 'Progress', stage: 'embed', done: n, total: 1000, unit: 'passage', note: file.path };
      await tick(10);
    }
    if (signal.aborted) return;
    yield { type: 'Progress', stage: 'read', done: i, total: files.length, unit: 'file', note: file.path };
    if (file.path.endsWith('locked.pdf')) {
      yield {
        type: 'Skipped',
        path: file.path,
        code: 'encrypted',
        message: 'It is locked with a password.',
        hint: 'Save a copy without one and add that.',
      };
    } else yield store(file);
  }
}

const TIMING = {
  type: 'Timing',
  search_ms: 4,
  load_ms: 0,
  prefill_ms: 0,
  decode_ms: 0,
  first_ms: 0,
  prompt_tokens: 0,
  tokens: 0,
  met: null,
  model: '',
  where: 'tab',
  stop: 'end',
};

async function* ask({ question, k, filter, write, slo, server, delay_ms }, signal) {
  if (question.includes('crash')) self.close();
  const found = find(question, k ?? 8, filter);
  const nearest = found.hits.length
    ? undefined
    : [...docs.values()]
        .slice(0, 1)
        .flatMap(({ card, chunks }) => [
          { ...card, ...chunks[0], chunk: 0, score: 0.01, lexical: null, vector: 0.2, marks: [] },
        ]);
  yield { ...found, hits: nearest ?? found.hits };
  if (nearest) {
    yield { type: 'NoSource', nearest };
    yield TIMING;
    return;
  }
  const [hit] = found.hits;
  const sentence = /^[\s\S]*?[.!?](?=\s|$)/.exec(hit.text)?.[0] ?? hit.text;
  yield { type: 'Passage', hit, start: hit.start, end: hit.start + points(sentence), text: sentence, score: 0.8 };
  if (write === false) {
    yield TIMING;
    return;
  }
  if (server?.length && slo?.first <= 500) {
    const away = { hits: found.hits.slice(0, 2), max_tokens: 160, spent_ms: 4 + delay_ms, away_ms: delay_ms };
    const asked = { question, slo, temperature: 0, seed: 0, app: '', search_ms: 4, must: false, ...away };
    const reason = 'the tab would have needed 2.1 s';
    yield { type: 'Placed', where: 'server', reason, write: asked, first_ms: 60 + delay_ms };
    return;
  }
  yield* written({ question, hits: found.hits, slo }, signal);
}

async function* written({ question, hits: [hit], slo, must }, signal) {
  const sentence = /^[\s\S]*?[.!?](?=\s|$)/.exec(hit.text)?.[0] ?? hit.text;
  yield { type: 'Progress', stage: 'load', done: 60e6, total: 90e6, unit: 'bytes', note: 'the writing model' };
  for (let n = 0; question.includes('slowly') && !signal.aborted; n++) {
    yield { type: 'Token', text: `word${n} ` };
    await tick(10);
  }
  const text = `According to the documents: ${sentence} That is all they say 🔥 about it.`;
  for (const piece of text.match(/\S+\s*/g)) {
    if (signal.aborted) return;
    yield { type: 'Token', text: piece };
    await tick(1);
  }
  const end = points('According to the documents: ') + points(sentence);
  yield {
    type: 'Citation',
    start: 0,
    end,
    hit,
    source: { start: hit.start, end: hit.start + points(sentence) },
    score: 0.9,
  };
  yield {
    ...TIMING,
    prefill_ms: 420,
    decode_ms: 1900,
    first_ms: 510,
    token_ms: 47.5,
    prompt_tokens: slo?.first ? 240 : 312,
    whole_tokens: 312,
    tokens: 41,
    slo: slo ?? {},
    met: slo?.first ? slo.first > 510 && !must : null,
    level: slo?.first ? 2 : 0,
    ratio: slo?.first ? 0.6 : 1,
    model: 'smollm2-135m',
  };
}

async function* chat({ messages, max_tokens, form, tools, tool, logprobs }, signal) {
  if (tool) {
    const { name } = tools.find((one) => one.name === tool);
    yield { type: 'Called', calls: [{ name, arguments: '{"city":"Ulm"}' }] };
    yield { type: 'Timing', prompt_tokens: 9, tokens: 12, stop: 'end' };
    return;
  }
  const said = form ? '{"said": "hello"}' : `You said: ${messages.at(-1).content}`;
  const words = said.match(/\S+\s*/g).slice(0, max_tokens);
  for (const text of words) {
    if (signal.aborted) return;
    const token = { token: text, codes: [...new TextEncoder().encode(text)], logprob: -0.5 };
    const top = Array.from({ length: logprobs ?? 0 }, () => token);
    yield { type: 'Token', text, logprobs: logprobs === null ? [] : [{ ...token, top }] };
    await tick(1);
  }
  yield { type: 'Timing', prompt_tokens: 9, tokens: words.length, stop: 'end' };
}

const LEVELS = [
  [1, 25.1],
  [0.8, 28.4],
  [0.6, 36.2],
  [0.4, 61.7],
  [0.2, 148],
].map(([ratio, perplexity]) => {
  const cost = [2, 0.7 + 2.7 * ratio, 0.0004, 3 + 9 * ratio, 0.004];
  const first_ms = 8 + 256 * cost[1];
  return { ratio, perplexity, quality: 1 - (1 - ratio) / 3, cost, first_ms, token_ms: cost[3] + 1 };
});
let measured = false;

const cards = () => [...docs.values()].map(({ card }) => card);

const has = (name) => cards().some((card) => card.path.endsWith(name));

/** A disc for each collection: points are documents, or their passages with `deep`. */
function map(by, deep) {
  const all = [...docs.values()];
  const groups = [...new Set(all.map(({ card }) => card.collection))].sort();
  const rows = all.flatMap(({ card, chunks }, n) =>
    (deep ? chunks : [{ start: 0, end: 0 }]).map((chunk, i) => [
      n,
      i,
      chunk.start,
      chunk.end,
      groups.indexOf(card.collection),
    ]),
  );
  const discs = groups.map((name, t) => {
    const points = rows.filter((row) => row[4] === t).length;
    return {
      words: deep ? [name, 'fire'] : [name],
      points,
      x: t * 12,
      y: 0,
      radius: Math.sqrt(points) + 1,
      quote: deep ? `About ${name}.` : '',
    };
  });
  const seen = groups.map(() => 0);
  const places = rows.map((row) => {
    const turn = seen[row[4]]++ * 2.4;
    const reach = Math.sqrt(seen[row[4]] - 1);
    return [discs[row[4]].x + reach * Math.cos(turn), reach * Math.sin(turn)];
  });
  const bytes = (column) => new Uint8Array(column.buffer);
  const passages = all.reduce((sum, { chunks }) => sum + chunks.length, 0);
  return {
    type: 'Topics',
    by,
    topics: discs,
    documents: all.map(({ card }) => card.document),
    passages,
    waiting: has('unlearnt.md') ? passages : 0,
    document: bytes(Uint32Array.from(rows, (row) => row[0])),
    chunk: bytes(Uint32Array.from(rows, (row) => row[1])),
    start: bytes(Uint32Array.from(rows, (row) => row[2])),
    end: bytes(Uint32Array.from(rows, (row) => row[3])),
    topic: bytes(Uint16Array.from(rows, (row) => row[4])),
    x: bytes(Float32Array.from(places, ([x]) => x)),
    y: bytes(Float32Array.from(places, ([, y]) => y)),
  };
}

function source({ document, start = 0, end = 0 }) {
  const doc = docs.get(document);
  if (!doc)
    throw {
      code: 'no-document',
      message: 'This document is not in the library.',
      hint: 'It may have been removed in another tab.',
    };
  const { card, text, pages } = doc;
  const plain = {
    type: 'Source',
    card,
    text,
    offset: 0,
    start,
    end,
    page: null,
    width: 0,
    height: 0,
    image: new Uint8Array(0),
    boxes: [],
  };
  if (!pages.length) return plain;
  const page = start >= pages[1] ? 2 : 1;
  const [width, height] = [60, 80];
  const image = new Uint8Array(width * height * 4).fill(255);
  const mine = [...text].slice(pages[page - 1], pages[page] ?? Infinity).join('');
  return {
    ...plain,
    text: mine,
    offset: pages[page - 1],
    page,
    width,
    height,
    image,
    boxes: [{ x: 8, y: 20, width: 40, height: 6 }],
  };
}

const FLOWS = {
  async *Open({ name }) {
    opened = name;
    for (let done = 0; done <= 2; done++)
      yield { type: 'Progress', stage: 'boot', done, total: 2, unit: 'step', note: 'Starting the engine' };
    yield* FLOWS.Look();
  },
  Add: add,
  Ask: ask,
  Write: written,
  Chat: chat,
  async *Search({ query, k, filter }) {
    yield find(query, k, filter);
  },
  async *List() {
    yield { type: 'Documents', cards: cards() };
  },
  async *Remove({ documents }) {
    yield { type: 'Removed', documents: documents.filter((document) => docs.delete(document)) };
  },
  async *Show(request) {
    yield source(request);
  },
  async *Inspect({ document }) {
    const { card, text, chunks, pages } = docs.get(document);
    yield {
      type: 'Chunks',
      document: {
        path: card.path,
        type: card.type,
        title: card.title,
        text,
        chunks,
        pages,
        language: 'en',
        warnings: [],
      },
    };
  },
  async *Export() {
    const all = [...docs.values()].map(({ card, text }) => ({ path: card.path, collection: card.collection, text }));
    yield { type: 'Blob', name: 'notes.nook', data: new TextEncoder().encode(JSON.stringify(all)) };
  },
  async *Import({ data }) {
    let all;
    try {
      all = JSON.parse(new TextDecoder().decode(data));
    } catch {
      throw { code: 'damaged', message: 'This file is damaged.', hint: 'Fetch or export it again.' };
    }
    for (const { path, collection, text } of all)
      yield store({ path, collection, modified: 1.7e9, data: new TextEncoder().encode(text) });
  },
  async *Prepare({ model }) {
    yield { type: 'Progress', stage: 'load', done: 1, total: 1, unit: 'file', note: model };
  },
  async *Levels({ measure }) {
    for (let done = 0; measure && done < 5; done++) {
      yield { type: 'Progress', stage: 'measure', done, total: 5, unit: 'level', note: '' };
      await tick(5);
    }
    measured ||= measure;
    const levels = LEVELS.map((level) => (measured ? level : { ...level, cost: [], first_ms: 0, token_ms: 0 }));
    yield { type: 'Ladder', levels, measured, model: 'fake', where: 'tab' };
  },
  async *Plan({ tokens, slo, server, delay_ms }) {
    if (server?.length && slo?.first <= 500) {
      const [{ quality, first_ms, token_ms }] = server;
      const times = { first_ms: first_ms + delay_ms, token_ms, reason: 'the tab would have needed 2.1 s' };
      yield { type: 'Planned', where: 'server', level: 0, ratio: 1, kept: tokens, quality, ...times };
      return;
    }
    const level = LEVELS.findIndex(({ first_ms }) => first_ms <= (slo?.first ?? Infinity));
    if (level < 0)
      throw {
        code: 'slo',
        message: `No part of the model is as fast as first=${slo.first}ms here.`,
        hint: 'first=330ms could be kept.',
      };
    const { ratio, quality, first_ms, token_ms } = LEVELS[level];
    yield { type: 'Planned', where: 'tab', level, ratio, kept: tokens, quality, first_ms, token_ms, reason: '' };
  },
  async *Map(_, signal) {
    yield map('place', false);
    if (has('unlearnt.md')) return;
    for (let n = 0; has('slow.md') && !signal.aborted; n++) {
      yield { type: 'Progress', stage: 'load', done: n % 18, total: 18, unit: 'bytes', note: 'science' };
      await tick(10);
    }
    if (has('noscience.md'))
      throw { code: 'science-missing', message: 'The map needs scikit-learn.', hint: 'Build the site with it.' };
    yield map('meaning', true);
  },
  async *Look() {
    const chunks = cards().reduce((sum, card) => sum + card.chunks, 0);
    const collections = {};
    for (const card of cards()) collections[card.collection] = (collections[card.collection] ?? 0) + 1;
    yield {
      type: 'Status',
      name: opened,
      documents: docs.size,
      chunks,
      vectors: chunks,
      collections,
      stored: 4321,
      memory: 9e6,
      encoder: 'fake',
      models: { encoder: 'ready', lm: 'absent' },
      version: '0',
      where: 'tab',
      kept: true,
      reason: '',
      index: {
        vectors: chunks,
        dimensions: 384,
        kinds: { flat: chunks },
        stored: 1.6e6,
        memory: 4e6,
        budget: 96e6,
        hits: 1960,
        misses: 40,
        queries: 120,
        trips: 0,
        trips_p99: 1,
      },
    };
  },
};

self.onmessage = ({ data, ports: [port] }) => {
  if (data.type !== 'Join') return;
  /** @type {Map<string, AbortController>} */
  const open = new Map();
  port.onmessage = ({ data }) => hear(port, open, data);
  port.postMessage({ type: 'Joined', id: '' });
  alive.then((lock) => port.postMessage({ type: 'Alive', id: '', lock }));
};

async function hear(port, open, data) {
  if (data.type === 'Leave') for (const stop of open.values()) stop.abort();
  if (data.type === 'Leave') return;
  if (data.type === 'Cancel') {
    open.get(data.stream)?.abort();
    return;
  }
  const stop = new AbortController();
  open.set(data.id, stop);
  const send = (event) => port.postMessage({ ...event, id: data.id });
  try {
    for await (const event of FLOWS[data.type](data, stop.signal)) {
      if (stop.signal.aborted) break;
      send(event);
    }
    send({ type: stop.signal.aborted ? 'Cancelled' : 'Done' });
  } catch (error) {
    send({
      type: 'Failed',
      code: error.code ?? 'fake',
      message: error.message ?? String(error),
      hint: error.hint ?? '',
    });
  }
  open.delete(data.id);
}
