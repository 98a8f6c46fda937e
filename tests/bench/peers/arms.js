// The browser engines that `build.py bench index` compares with, each behind the same few words:
//
//   const arm = await ARMS.name(vectors, dim, report);   // vectors: Float32Array (n * dim), rows of unit length
//   const ids = await arm.query(q, k, effort);           // effort: one of arm.efforts, from the cheapest
//
// Each is used as its documentation says, with the settings of its authors or, where those lose recall, hnswlib's usual
// M 16 and efConstruction 200. `report(done)` says how many vectors are in.

import { ours } from './ours.js';

const MODULES = '/peers/node_modules';
const M = 16;
const EF_CONSTRUCTION = 200;
const EFS = [16, 24, 32, 40, 64, 100, 160, 256, 400];

/** @typedef {(done: number) => void} Report */
/**
 * @typedef {object} Arm
 * @property {number[]} efforts
 * @property {(q: Float32Array, k: number, effort: number) => any} query
 * @property {(queries: Float32Array, k: number, effort: number) => Promise<{ ids: number[][], ms: number[] }>} [round]
 * @property {Record<string, number>} [more] figures of its own
 * @property {number[]} [first] what it answered to the first query while it was opened
 * @property {(op: string, how: object) => Promise<any>} [call]
 */

/** @param {Float32Array} vectors @param {number} dim */
function* rows(vectors, dim) {
  for (let i = 0; i * dim < vectors.length; i++) yield vectors.subarray(i * dim, (i + 1) * dim);
}

/** @param {number} i @param {Report} report lets the page breathe now and then, so that it can be ended */
async function breathe(i, report) {
  if (i % 500) return;
  report(i);
  await new Promise((resolve) => setTimeout(resolve));
}

/** @type {Record<string, (vectors: Float32Array, dim: number, report: Report, options: any) => Promise<Arm>>} */
export const ARMS = {
  ours,

  async 'hnswlib-wasm'(vectors, dim, report) {
    const { loadHnswlib } = await import(`${MODULES}/hnswlib-wasm/dist/hnswlib.js`);
    const lib = await loadHnswlib('IDBFS');
    const index = new lib.HierarchicalNSW('ip', dim, '');
    index.initIndex(vectors.length / dim, M, EF_CONSTRUCTION, 100);
    let i = 0;
    for (const row of rows(vectors, dim)) {
      index.addPoint(row, i, false);
      await breathe(++i, report);
    }
    return {
      efforts: EFS,
      query(q, k, ef) {
        index.setEfSearch(ef);
        return index.searchKnn(q, k, undefined).neighbors;
      },
    };
  },

  mememo,

  // Built in memory, then carried over to a database as its README says; its cache, 50 MB by default, as the budget is.
  async 'mememo-indexeddb'(vectors, dim, report, { budget }) {
    const { HNSW } = await import(`${MODULES}/mememo/dist/index.es.js`);
    const built = (await mememo(vectors, dim, report)).index;
    const index = new HNSW({ distanceFunction: 'cosine-normalized', m: M, efConstruction: EF_CONSTRUCTION });
    index.loadIndex({ ...built.exportIndex(), useIndexedDB: true });
    const stored = new HNSW({ useIndexedDB: true }).nodes;
    Object.assign(stored, { graphLayers: index.graphLayers, hasSetPrefetchSize: true });
    stored.prefetchSize = Math.max(1, Math.floor(budget / (8 * dim))); // its vectors are arrays of doubles
    index.nodes = stored;
    const keys = [...built.nodes.nodesMap.keys()];
    for (let i = 0; i < keys.length; i += 2000) {
      const part = keys.slice(i, i + 2000);
      await stored.bulkSet(
        part,
        part.map((key) => built.nodes.nodesMap.get(key)),
      );
      stored.nodesMap.clear();
    }
    built.nodes.nodesMap.clear();
    return {
      efforts: EFS,
      query: async (q, k, ef) => (await index.query(Array.from(q), k, ef)).keys.map(Number),
    };
  },

  async edgevec(vectors, dim, report) {
    const { default: init, EdgeVec, EdgeVecConfig } = await import(`${MODULES}/edgevec/edgevec.js`);
    await init();
    const index = new EdgeVec(new EdgeVecConfig(dim)); // its L2: with its cosine and dot 0.9.0 finds the farthest
    /** @type {Map<number, number>} */
    const places = new Map();
    let i = 0;
    for (const row of rows(vectors, dim)) {
      places.set(index.insert(row), i);
      await breathe(++i, report);
    }
    return {
      efforts: [0],
      query: (q, k) => index.search(q, k).map((/** @type {any} */ hit) => places.get(hit.id)),
    };
  },

  async 'voy-search'(vectors, dim, report) {
    const glue = await import(`${MODULES}/voy-search/voy_search_bg.js`);
    const source = fetch(`${MODULES}/voy-search/voy_search_bg.wasm`);
    const { instance } = await WebAssembly.instantiateStreaming(source, { './voy_search_bg.js': glue });
    glue.__wbg_set_wasm(instance.exports);
    const index = new glue.Voy();
    let i = 0;
    const batch = [];
    for (const row of rows(vectors, dim)) {
      batch.push({ id: String(i), title: '', url: '', embeddings: Array.from(row) });
      await breathe(++i, report);
    }
    index.index({ embeddings: batch });
    return {
      efforts: [0],
      query: (q, k) => index.search(q, k).neighbors.map((/** @type {any} */ hit) => Number(hit.id)),
    };
  },

  async 'rabitq-wasm'(vectors, dim) {
    const { default: init, RabitqIndex } = await import(`${MODULES}/@ruvector/rabitq-wasm/ruvector_rabitq_wasm.js`);
    await init();
    /** @type {Map<number, any>} the factor of re-ranking is fixed when the index is built */
    const built = new Map();
    return {
      efforts: [5, 10, 20, 40, 80],
      query(q, k, factor) {
        if (!built.has(factor)) {
          for (const old of built.values()) old.free();
          built.clear();
          built.set(factor, RabitqIndex.build(vectors, dim, 1n, factor));
        }
        const hits = built.get(factor).search(q, k);
        const ids = hits.map((/** @type {any} */ hit) => hit.id);
        for (const hit of hits) hit.free();
        return ids;
      },
    };
  },

  async 'sqlite-vec'(vectors, dim, report) {
    const { default: init } = await import(`${MODULES}/sqlite-vec-wasm-demo/sqlite3.mjs`);
    const sqlite3 = await init({ setStatus: () => {}, HEAPU64: true }); // 0.1.9 does not start without these
    const db = new sqlite3.oo1.DB(':memory:');
    db.exec(`create virtual table v using vec0(e float[${dim}])`);
    const insert = db.prepare('insert into v(rowid, e) values (?, ?)');
    db.exec('begin');
    let i = 0;
    for (const row of rows(vectors, dim)) {
      insert.bind(1, i).bind(2, bytes(row)).stepReset();
      await breathe(++i, report);
    }
    db.exec('commit');
    const select = db.prepare('select rowid from v where e match ? and k = ? order by distance');
    return {
      efforts: [0],
      query(q, k) {
        const ids = [];
        select.bind(1, bytes(q)).bind(2, k);
        while (select.step()) ids.push(select.get(0));
        select.reset();
        return ids;
      },
    };
  },

  async pgvector(vectors, dim, report) {
    const { PGlite } = await import(`${MODULES}/@electric-sql/pglite/dist/index.js`);
    const { vector } = await import(`${MODULES}/@electric-sql/pglite-pgvector/dist/index.js`);
    const db = await PGlite.create({ extensions: { vector } });
    await db.exec(`create extension vector; set maintenance_work_mem = '512MB';
      create table v (id int primary key, e vector(${dim}));
      create index on v using hnsw (e vector_ip_ops) with (m = ${M}, ef_construction = ${EF_CONSTRUCTION});`);
    const all = [...rows(vectors, dim)];
    for (let i = 0; i < all.length; i += 200) {
      const part = all.slice(i, i + 200);
      const values = part.map((row, j) => `(${i + j}, '[${Array.from(row).join(',')}]')`);
      await db.exec(`insert into v values ${values.join(',')}`);
      report(i + part.length);
    }
    let set = 0;
    return {
      efforts: EFS,
      async query(q, k, ef) {
        if (ef !== set) await db.exec(`set hnsw.ef_search = ${ef}`);
        set = ef;
        const text = `[${Array.from(q).join(',')}]`;
        const { rows: found } = await db.query('select id from v order by e <#> $1 limit $2', [text, k]);
        return found.map((/** @type {any} */ row) => row.id);
      },
    };
  },
};

/** @param {Float32Array} vectors @param {number} dim @param {Report} report */
async function mememo(vectors, dim, report) {
  const { HNSW } = await import(`${MODULES}/mememo/dist/index.es.js`);
  const index = new HNSW({ distanceFunction: 'cosine-normalized', m: M, efConstruction: EF_CONSTRUCTION });
  const all = [...rows(vectors, dim)];
  for (let i = 0; i < all.length; i += 500) {
    const part = all.slice(i, i + 500);
    await index.bulkInsert(
      part.map((_, j) => String(i + j)),
      part.map((row) => Array.from(row)),
    );
    report(i + part.length);
  }
  return {
    index,
    efforts: EFS,
    /** @param {Float32Array} q @param {number} k @param {number} ef */
    query: async (q, k, ef) => (await index.query(Array.from(q), k, ef)).keys.map(Number),
  };
}

/** @param {Float32Array} row */
const bytes = (row) => new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
