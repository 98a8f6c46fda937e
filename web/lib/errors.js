// Errors that tell a person what to do next. A stop on request is no error: it is an AbortError, as on the platform.

/** Something went wrong. `code` is a stable word such as "encrypted" or "quota"; `hint` says what to do about it. */
export class NookError extends Error {
  /** @param {string} code @param {string} message @param {string} [hint] */
  constructor(code, message, hint = '') {
    super(message);
    this.name = 'NookError';
    this.code = code;
    this.hint = hint;
  }
}

/** What a stopped call throws. @param {AbortSignal} [signal] @returns {Error} */
export function abortError(signal) {
  return signal?.reason instanceof Error ? signal.reason : new DOMException('Stopped.', 'AbortError');
}

/** Whether an error only says that somebody pressed Stop. @param {unknown} error */
export const isAbort = (error) => error instanceof DOMException && error.name === 'AbortError';

/**
 * Any error in the one shape the page shows. @param {any} error
 * @returns {{ code: string, message: string, hint: string }}
 */
export function explain(error) {
  if (error && typeof error.code === 'string' && 'hint' in error) return error;
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'unexpected', message, hint: 'Try again; if it stays, reload the page. What is stored is safe.' };
}
