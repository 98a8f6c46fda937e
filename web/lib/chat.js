// The face other clients know: `chat.completions.create`, in OpenAI's shape, on the model in this tab.

import { wired } from './chat-request.js';

/** @typedef {import('../wire.gen.js').Event} Event */
/** @typedef {import('../wire.gen.js').Call} Call */
/** @typedef {import('../wire.gen.js').Logprob} Logprob */
/** @typedef {import('../wire.gen.js').TimingMessage} TimingMessage */
/** @typedef {import('./chat-request.js').CompletionRequest} CompletionRequest */

const MODEL = 'smollm2-135m-instruct';

/** `nook.chat.completions` of an OpenAI-shaped client. */
export class Completions {
  #ask;

  /** @param {(message: object, signal?: AbortSignal) => AsyncIterable<Event>} ask */
  constructor(ask) {
    this.#ask = ask;
  }

  /**
   * A completion, or with `stream: true` an async iterable of chunks. Leaving the iteration stops the model. What the
   * request asks wrongly fails with code "request", "tools", "schema" or "regex" before anything is written.
   * @param {CompletionRequest} request @param {{ signal?: AbortSignal }} [options] @returns {Promise<any>}
   */
  async create(request, options = {}) {
    const message = wired(request);
    const events = this.#ask(message, request.signal ?? options.signal);
    const head = {
      id: `chatcmpl-${crypto.randomUUID()}`,
      object: request.stream ? 'chat.completion.chunk' : 'chat.completion',
      created: Math.floor(Date.now() / 1000),
      model: MODEL,
    };
    const told = message.logprobs !== null;
    return request.stream
      ? chunks(events, head, told, Boolean(request.stream_options?.include_usage))
      : whole(events, head, told);
  }
}

/**
 * @param {AsyncIterable<Event>} events @param {object} head @param {boolean} told whether log-probabilities were asked for
 * @param {boolean} counted whether a chunk with the usage ends the stream
 */
async function* chunks(events, head, told, counted) {
  const one = (/** @type {object} */ delta, /** @type {Logprob[]} */ written = []) => ({
    ...head,
    choices: [{ index: 0, delta, logprobs: told && written.length ? logprobs(written) : null, finish_reason: null }],
    ...(counted && { usage: null }),
  });
  let called = false;
  /** @type {TimingMessage | undefined} */
  let timing;
  yield one({ role: 'assistant', content: '' });
  for await (const event of events) {
    if (event.type === 'Token') yield one({ content: event.text }, event.logprobs);
    else if (event.type === 'Called') {
      called = true;
      yield one({ tool_calls: event.calls.map((call, index) => ({ index, ...toolCall(call) })) });
    } else if (event.type === 'Timing') timing = event;
  }
  const last = one({});
  last.choices[0] = Object.assign(last.choices[0], { finish_reason: reason(timing, called) });
  yield { ...last, timing };
  if (counted) yield { ...head, choices: [], usage: usage(timing) };
}

/** @param {AsyncIterable<Event>} events @param {object} head @param {boolean} told */
async function whole(events, head, told) {
  let content = '';
  /** @type {Logprob[]} */
  const written = [];
  /** @type {Call[]} */
  const calls = [];
  /** @type {TimingMessage | undefined} */
  let timing;
  for await (const event of events) {
    if (event.type === 'Token') {
      content += event.text;
      written.push(...(event.logprobs ?? []));
    } else if (event.type === 'Called') calls.push(...event.calls);
    else if (event.type === 'Timing') timing = event;
  }
  const message = calls.length
    ? { role: 'assistant', content: content || null, tool_calls: calls.map(toolCall) }
    : { role: 'assistant', content };
  const finish_reason = reason(timing, calls.length > 0);
  const choices = [{ index: 0, message, logprobs: told ? logprobs(written) : null, finish_reason }];
  return { ...head, choices, usage: usage(timing), timing };
}

/** @param {TimingMessage | undefined} timing */
const usage = (timing) => ({
  prompt_tokens: timing?.prompt_tokens ?? 0,
  completion_tokens: timing?.tokens ?? 0,
  total_tokens: (timing?.prompt_tokens ?? 0) + (timing?.tokens ?? 0),
});

/** @param {TimingMessage | undefined} timing @param {boolean} called */
const reason = (timing, called) => (called ? 'tool_calls' : timing?.stop === 'length' ? 'length' : 'stop');

/** @param {Call} call */
const toolCall = (call) => ({ id: `call_${crypto.randomUUID()}`, type: 'function', function: { ...call } });

/** @param {Logprob[]} written */
const logprobs = (written) => ({
  content: written.map(({ top, ...token }) => ({ ...likely(token), top_logprobs: top.map(likely) })),
  refusal: null,
});

/** @param {import('../wire.gen.js').Likely} token */
const likely = ({ token, codes, logprob }) => ({ token, logprob, bytes: codes });
