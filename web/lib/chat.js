// The face other clients know: `chat.completions.create`, in OpenAI's shape, on the model in this tab.

/** @typedef {import('../wire.gen.js').Turn} Turn */
/** @typedef {import('../wire.gen.js').Event} Event */
/** @typedef {import('../wire.gen.js').TimingMessage} TimingMessage */

/**
 * @typedef {object} CompletionRequest
 * @property {Turn[]} messages
 * @property {boolean} [stream]
 * @property {number} [max_tokens]
 * @property {number} [max_completion_tokens]
 * @property {number} [temperature]
 * @property {number} [top_p]
 * @property {number} [seed]
 * @property {string | string[]} [stop]
 * @property {{ first?: number, token?: number }} [slo]
 * @property {AbortSignal} [signal]
 * @property {string} [model] taken and ignored: there is one model
 */

const MODEL = 'smollm2-135m-instruct';

/** @param {TimingMessage | undefined} timing */
const usage = (timing) => ({
  prompt_tokens: timing?.prompt_tokens ?? 0,
  completion_tokens: timing?.tokens ?? 0,
  total_tokens: (timing?.prompt_tokens ?? 0) + (timing?.tokens ?? 0),
});

/** @param {TimingMessage | undefined} timing */
const reason = (timing) => (timing?.stop === 'length' ? 'length' : 'stop');

/** `nook.chat.completions` of an OpenAI-shaped client. */
export class Completions {
  #ask;

  /** @param {(message: object, signal?: AbortSignal) => AsyncIterable<Event>} ask */
  constructor(ask) {
    this.#ask = ask;
  }

  /**
   * A completion, or with `stream: true` an async iterable of chunks. Leaving the iteration stops the model.
   * @param {CompletionRequest} request @param {{ signal?: AbortSignal }} [options] @returns {Promise<any>}
   */
  async create(request, options = {}) {
    const { messages, stream = false, temperature = 0, top_p = 1, seed = 0, slo = {} } = request;
    const max_tokens = request.max_completion_tokens ?? request.max_tokens ?? 256;
    const stop = [request.stop ?? []].flat();
    const message = { type: 'Chat', messages, max_tokens, temperature, top_p, seed, stop, slo };
    const events = this.#ask(message, request.signal ?? options.signal);
    const head = { id: `chatcmpl-${crypto.randomUUID()}`, created: Math.floor(Date.now() / 1000) };
    return stream ? chunks(events, head) : whole(events, head);
  }
}

/** @param {AsyncIterable<Event>} events @param {{ id: string, created: number }} head */
async function* chunks(events, head) {
  const shape = { ...head, object: 'chat.completion.chunk', model: MODEL };
  const one = (/** @type {object} */ delta, /** @type {string | null} */ finish_reason = null) => ({
    ...shape,
    choices: [{ index: 0, delta, finish_reason }],
  });
  /** @type {TimingMessage | undefined} */
  let timing;
  yield one({ role: 'assistant', content: '' });
  for await (const event of events) {
    if (event.type === 'Token') yield one({ content: event.text });
    else if (event.type === 'Timing') timing = event;
  }
  yield { ...one({}, reason(timing)), usage: usage(timing) };
}

/** @param {AsyncIterable<Event>} events @param {{ id: string, created: number }} head */
async function whole(events, head) {
  let content = '';
  /** @type {TimingMessage | undefined} */
  let timing;
  for await (const event of events) {
    if (event.type === 'Token') content += event.text;
    else if (event.type === 'Timing') timing = event;
  }
  const message = { role: 'assistant', content };
  const choices = [{ index: 0, message, finish_reason: reason(timing) }];
  return { ...head, object: 'chat.completion', model: MODEL, choices, usage: usage(timing) };
}
