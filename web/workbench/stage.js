// The stages of a prompt: what each asks of the person, and what its job is told.

import { choice, folded, number, tick } from './fields.js';

/** @typedef {import('./fields.js').Field} Field */
/**
 * @typedef {object} Stage
 * @property {string} job of the worker @property {string} label @property {string} act what its button says
 * @property {string} [title] of its runs, if not the label
 * @property {string} about @property {Record<string, Field>} fields what is told, by its name there
 * @property {object} [more] that is told always
 */

/** Passes of a build and patterns that need nothing to be told (prompt/passes.py, prompt/patterns.py). */
const PASSES = /** @type {const} */ ([
  ['normalise', 'white space and list marks'],
  ['deduplicate', 'what is said twice'],
  ['compress', 'words and segments that change nothing'],
  ['examples', 'examples that change nothing'],
  ['order', 'what never changes first'],
  ['harden', 'what comes from outside marked off'],
]);
const PATTERNS = /** @type {const} */ ([
  ['steps', 'lets the model think'],
  ['refusal', 'says what to answer where there is none'],
  ['delimit', 'marks off what comes from outside'],
  ['guard', 'says that what comes from outside is data'],
  ['reminder', 'says the form, or the task, again at the end'],
]);
export const COMPARE = 'Compare';
export const DEBUG = 'Debug';

const runs = 'Runs of a case at most';
const pairs = 'Pairs of runs at most';

/** @param {Record<string, Field>} made fields that need more than the person @param {Record<string, Field>} searching
 * @returns {Stage[]} */
export const stages = ({ before, smaller, versions, to, history }, searching) =>
  /** @type {Stage[]} */ ([
    {
      job: 'test',
      label: 'Test',
      act: 'Test this prompt',
      about: 'Whether it does what it must: each case by a sequential test, each requirement with its own errors.',
      fields: { runs: number(runs, 60), relations: tick('Try changes that should not matter, too') },
    },
    {
      job: 'test',
      label: 'Mutate',
      act: 'Mutate this prompt',
      about:
        'Whether the tests notice when it is broken: it is changed in small ways that should matter, and each change runs beside it. What survives names a test that is missing.',
      fields: { runs: number(runs, 60) },
      more: { mutate: true },
    },
    {
      job: 'debug',
      label: DEBUG,
      act: 'Find what is wrong',
      about:
        'Which segments make it fail: groups of them are left out, what that tells is weighed, and a suspect is confirmed by leaving it out alone. Where none is to blame, what is missing is looked for. Of released versions, which one broke it.',
      fields: { case: choice('Only the case', 'all that fail'), ...searching, versions },
    },
    {
      job: 'build',
      label: 'Build',
      act: 'Build this prompt',
      about:
        'The smallest prompt that meets every requirement: each pass proposes a change, which is kept only if it is shown to lose nothing that counts. What came out is held against the original once more, with fresh seeds and with the cases that no pass saw; the lock has the evidence.',
      fields: {
        runs: number(runs, 60),
        margin: number('Loss that counts', 0.1, { step: '0.01' }),
        held: number('Cases no pass sees, %', null, { max: '90', none: 'none' }),
        first: number('First token within, ms', null),
        token: number('Each after it, ms', null),
        levels: smaller,
        passes: folded('Passes', PASSES, true),
        patterns: folded('Patterns to try, too', PATTERNS, false),
      },
    },
    {
      job: 'evolve',
      label: 'Evolve',
      act: 'Evolve this prompt',
      about:
        'The model reads what failed on half of the cases and rewrites one segment after another. What does best is taken only if the other half, which it never saw, shows that it gains and loses no requirement.',
      fields: { rounds: number('Rewritings at most', 8), runs: number('Pairs of runs for the gate at most', 400) },
    },
    {
      job: 'compare',
      label: COMPARE,
      act: 'Compare the two',
      about:
        'What this prompt does that an earlier one did not, and the other way round, side by side with the same seeds; and which version number that makes. On another model: whether that may take over.',
      fields: {
        before,
        runs: number(pairs, 400),
        margin: number('Difference that counts', 0.1, { step: '0.01' }),
        to,
      },
    },
    {
      job: 'release',
      label: 'History',
      title: 'Release',
      act: 'Release this prompt',
      about:
        'What was released, and on what evidence. A release is held against the one before it: what it lost makes a major version, what it gained a minor one; what is not known yet is not released.',
      fields: {
        name: history,
        runs: number(pairs, 400),
        margin: number('Difference that counts', 0.1, { step: '0.01' }),
      },
    },
  ]);

/** What jobs runs of prompts do. */
export const JOBS = ['test', 'debug', 'build', 'evolve', 'compare', 'release'];
