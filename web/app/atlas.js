// A map as arrays: points with their topics and passages, and the colours of the topics.

/** @typedef {import('../wire.gen.js').TopicsMessage} TopicsMessage */
/** @typedef {import('../wire.gen.js').Topic} Topic */
/** @typedef {import('../wire.gen.js').Card} Card */

/** How many colours there are for topics: .topic-0 and on, in css/map.css. */
export const COLOURS = 7;

export class Atlas {
  /** @param {TopicsMessage} made @param {Card[]} cards */
  constructor(made, cards) {
    const column = (/** @type {Uint8Array} */ bytes) => bytes.slice().buffer; // aligned, wherever it came from
    this.by = made.by;
    this.topics = made.topics;
    this.passages = made.passages;
    this.waiting = made.waiting;
    this.document = new Uint32Array(column(made.document));
    this.chunk = new Uint32Array(column(made.chunk));
    this.start = new Uint32Array(column(made.start));
    this.end = new Uint32Array(column(made.end));
    this.topic = new Uint16Array(column(made.topic));
    this.x = new Float32Array(column(made.x));
    this.y = new Float32Array(column(made.y));
    const titles = new Map(cards.map((card) => [card.document, card.title || card.path]));
    this.documents = made.documents.map((id) => ({ id, title: titles.get(id) ?? 'A document that is gone' }));
    /** @type {number[][]} points of each topic */
    this.on = made.topics.map(() => []);
    for (const [i, t] of this.topic.entries()) this.on[t].push(i);
    this.colours = colours(made.topics);
    this.names = made.topics.map((topic, t) => (topic.words.length ? topic.words : [this.inside(t)[0]?.title ?? '…']));
    /** @type {Map<string, number[]>} points of each document, by id */
    this.of = new Map(made.documents.map((id) => [id, []]));
    for (const [i, n] of this.document.entries()) this.of.get(made.documents[n])?.push(i);
  }

  get size() {
    return this.x.length;
  }

  /** What a point leads to. @param {number} i */
  passage(i) {
    return { document: this.documents[this.document[i]].id, start: this.start[i], end: this.end[i] };
  }

  /** The title of a point's document. @param {number} i */
  title(i) {
    return this.documents[this.document[i]].title;
  }

  /** The map's edges: left, top, right, bottom. */
  get edges() {
    const { topics } = this;
    const all = (/** @type {(topic: Topic) => number} */ edge) => topics.map(edge);
    return topics.length
      ? [
          Math.min(...all(({ x, radius }) => x - radius)),
          Math.min(...all(({ y, radius }) => y - radius)),
          Math.max(...all(({ x, radius }) => x + radius)),
          Math.max(...all(({ y, radius }) => y + radius)),
        ]
      : [0, 0, 1, 1];
  }

  /** Documents with passages in a topic, those with most first. @param {number} t */
  inside(t) {
    /** @type {Map<number, number[]>} */
    const found = new Map();
    for (const i of this.on[t]) {
      const points = found.get(this.document[i]);
      if (points) points.push(i);
      else found.set(this.document[i], [i]);
    }
    return [...found]
      .map(([n, points]) => ({ ...this.documents[n], points }))
      .sort((a, b) => b.points.length - a.points.length || a.title.localeCompare(b.title));
  }

  /** The point of a passage, or of the one nearest to it in its document; -1 if none is here. @param {string} document @param {number} chunk */
  find(document, chunk) {
    let best = -1;
    for (const i of this.of.get(document) ?? [])
      if (best < 0 || Math.abs(this.chunk[i] - chunk) < Math.abs(this.chunk[best] - chunk)) best = i;
    return best;
  }
}

/** Colours for discs: one that is far away, or not there yet, is taken first. @param {Topic[]} topics @returns {number[]} */
function colours(topics) {
  /** @type {number[]} */
  const chosen = [];
  for (const [t, topic] of topics.entries()) {
    const room = Array.from({ length: COLOURS }, () => Number.POSITIVE_INFINITY);
    for (const [other, { x, y, radius }] of topics.slice(0, t).entries()) {
      const gap = Math.hypot(topic.x - x, topic.y - y) - topic.radius - radius;
      room[chosen[other]] = Math.min(room[chosen[other]], gap);
    }
    chosen.push(room.indexOf(Math.max(...room)));
  }
  return chosen;
}
