// A request in OpenAI's shape to the message of this engine. What is asked wrongly is said before anything is sent.

import { NookError } from './errors.js';

/** @typedef {import('../wire.gen.js').Turn} Turn */
/** @typedef {import('../wire.gen.js').Form} Form */
/** @typedef {import('../wire.gen.js').Tool} Tool */

/**
 * @typedef {object} CompletionRequest
 * @property {any[]} messages
 * @property {boolean | null} [stream]
 * @property {{ include_usage?: boolean } | null} [stream_options]
 * @property {number | null} [max_tokens]
 * @property {number | null} [max_completion_tokens]
 * @property {number | null} [temperature]
 * @property {number | null} [top_p]
 * @property {number | null} [seed]
 * @property {string | string[] | null} [stop]
 * @property {{ type: string, json_schema?: { schema?: object } } | null} [response_format]
 * @property {string | null} [regex] a pattern that the whole answer matches; not OpenAI's
 * @property {any[] | null} [tools] functions
 * @property {any} [tool_choice] "auto", "none", "required" or a function
 * @property {boolean | null} [logprobs]
 * @property {number | null} [top_logprobs] 0 to 20
 * @property {{ first?: number, token?: number } | null} [slo] the latency asked for; not OpenAI's
 * @property {number | null} [level] the sub-model that answers, 0 the whole one; not OpenAI's
 * @property {number | null} [n] 1
 * @property {AbortSignal} [signal]
 * @property {string} [model] taken and ignored: there is one model
 */

/** What would change the answer and is not there: the only value that may be given. */
const ONLY = /** @type {const} */ ({ n: 1, frequency_penalty: 0, presence_penalty: 0 });
/** What may be given besides; some of it is taken and ignored. */
const TAKEN = new Set(
  `messages model stream stream_options max_tokens max_completion_tokens temperature top_p seed stop response_format regex
  tools tool_choice parallel_tool_calls logprobs top_logprobs slo level user metadata store signal`.split(/\s+/),
);
const TOP = 20;

/** @param {CompletionRequest} request */
export function wired(request) {
  for (const [name, given] of Object.entries(request)) {
    const only = /** @type {any} */ (ONLY)[name];
    if (only === undefined && given != null && !TAKEN.has(name)) throw bad(`there is no field ${name}`);
    if (only !== undefined && (given ?? only) !== only) throw bad(`${name} can only be ${only} here`);
  }
  const top = request.top_logprobs ?? 0;
  if (request.top_logprobs != null && !request.logprobs) throw bad('top_logprobs needs logprobs');
  if (!Number.isInteger(top) || top < 0 || top > TOP) throw bad(`top_logprobs is not a number from 0 to ${TOP}`);
  const stop = [request.stop ?? []].flat();
  if (!stop.every((text) => typeof text === 'string')) throw bad('stop is neither a string nor a list of strings');
  return {
    type: 'Chat',
    messages: list('messages', request.messages).map(turn),
    max_tokens: whole('max_tokens', request.max_completion_tokens ?? request.max_tokens ?? 256, 1),
    temperature: number('temperature', request.temperature ?? 0, 0, 2),
    top_p: number('top_p', request.top_p ?? 1, 0, 1),
    seed: whole('seed', request.seed ?? 0, Number.MIN_SAFE_INTEGER),
    stop,
    slo: slo(request.slo ?? {}),
    form: form(request),
    tools: list('tools', request.tools ?? []).map(tool),
    ...choice(request.tool_choice ?? 'auto'),
    logprobs: request.logprobs ? top : null,
    level: request.level == null ? null : whole('level', request.level, 0),
  };
}

/** @param {any} message @param {number} at @returns {Turn} */
function turn(message, at) {
  const role = message?.role === 'developer' ? 'system' : message?.role;
  if (typeof role !== 'string') throw bad(`messages[${at}] has no role`);
  const parts = typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : message.content;
  const content = list(`messages[${at}].content`, parts ?? []).map((part) => {
    if (part?.type !== 'text' || typeof part.text !== 'string') throw bad(`messages[${at}] has a part that is no text`);
    return part.text;
  });
  const calls = list(`messages[${at}].tool_calls`, message.tool_calls ?? []).map((call) => {
    const { name, arguments: told } = call?.function ?? {};
    if (typeof name !== 'string' || typeof told !== 'string') throw bad(`messages[${at}] has a call that is none`);
    return { name, arguments: told };
  });
  return { role, content: content.join(''), calls };
}

/** @param {CompletionRequest} request @returns {Form | null} */
function form({ response_format, regex }) {
  const kind = response_format == null ? 'text' : response_format.type;
  if (regex != null) {
    if (typeof regex !== 'string' || kind !== 'text') throw bad('regex is a pattern, without a response_format');
    return { kind: 'regex', text: regex };
  }
  if (kind === 'text') return null;
  if (kind === 'json_object') return { kind: 'json', text: '' };
  const schema = response_format?.json_schema?.schema;
  if (kind !== 'json_schema' || schema === undefined) throw bad('response_format is none that there is');
  return { kind: 'schema', text: JSON.stringify(schema) };
}

/** @param {any} given @returns {Tool} */
function tool(given) {
  const { name, description: told, parameters } = given?.type === 'function' ? (given.function ?? {}) : {};
  const description = told ?? '';
  if (typeof name !== 'string' || typeof description !== 'string') throw bad('tools has one that is no function');
  return { name, description, parameters: parameters ? JSON.stringify(parameters) : '' };
}

/** @param {any} given */
function choice(given) {
  if (typeof given === 'string') return { choice: given, tool: '' };
  const name = given?.type === 'function' ? given.function?.name : undefined;
  if (typeof name !== 'string' || !name) throw bad('tool_choice is none that there is');
  return { choice: 'required', tool: name };
}

/** @param {any} given */
function slo(given) {
  const right = Object.entries(given).every(([name, ms]) => /^(first|token)$/.test(name) && typeof ms === 'number');
  if (typeof given !== 'object' || !right) throw bad('slo is not of first and token, in milliseconds');
  return given;
}

/** @param {string} name @param {any} value @returns {any[]} */
function list(name, value) {
  if (!Array.isArray(value)) throw bad(`${name} is no list`);
  return value;
}

/** @param {string} name @param {any} value @param {number} least @param {number} most @returns {number} */
function number(name, value, least, most) {
  if (typeof value !== 'number' || !(value >= least && value <= most)) throw bad(`${name} is not ${least} to ${most}`);
  return value;
}

/** @param {string} name @param {any} value @param {number} least @returns {number} */
function whole(name, value, least) {
  if (!Number.isSafeInteger(value) || value < least) throw bad(`${name} is not a whole number from ${least} on`);
  return value;
}

/** @param {string} what */
const bad = (what) =>
  new NookError('request', `The request cannot be answered: ${what}.`, 'See the shape of chat completions.');
