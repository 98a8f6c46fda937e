// Questions to begin with, for the sample library: each names the document that answers it.

/** @type {Array<[string, string]>} */
const EXAMPLES = [
  ['What did Lewis and Clark explore?', '1806-thomas-jefferson.md'],
  ['Who declared unconditional war on poverty?', '1964-lyndon-b-johnson.md'],
  ['What are the four essential human freedoms?', '1941-franklin-d-roosevelt.pdf'],
  ['Why should we be first on the moon?', '1962-john-f-kennedy.pdf'],
];

/** Those that the library can answer. @param {import('../wire.gen.js').Card[]} cards @returns {string[]} */
export function examples(cards) {
  const there = new Set(cards.map((card) => card.path));
  return EXAMPLES.filter(([, path]) => there.has(path)).map(([question]) => question);
}
