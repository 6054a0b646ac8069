/** Asking the server from a component. */

import { useCallback, useEffect, useRef, useState } from '../../lib/ui.js';
import { ApiError } from '../../server/api.js';

/** @param {unknown} error */
export const wordsOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * What `load` gives: asked for at first, when one of `inputs` is another, after `every` milliseconds (0: never), and
 * when `again` is called.  Meanwhile, and when it fails, the last answer to the same inputs stays.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {unknown[]} inputs
 * @param {number} [every]
 * @returns {{value: T | null, error: string, busy: boolean, again: () => void}}
 */
export function useAsked(load, inputs, every = 0) {
  const [state, set] = useState({ value: /** @type {T | null} */ (null), error: '', busy: true });
  const [turn, next] = useState(0);
  const asked = useRef(load);
  asked.current = load;
  const seen = useRef(/** @type {unknown[] | null} */ (null));
  useEffect(() => {
    const control = new AbortController();
    let timer = 0;
    const same = seen.current?.every((one, at) => Object.is(one, inputs[at]));
    seen.current = inputs;
    set((before) => ({ value: same ? before.value : null, error: same ? before.error : '', busy: true }));
    const ask = async () => {
      try {
        const value = await asked.current(control.signal);
        if (!control.signal.aborted) set({ value, error: '', busy: false });
      } catch (error) {
        if (control.signal.aborted) return;
        set((before) => ({ ...before, error: wordsOf(error), busy: false }));
      }
      if (every && !control.signal.aborted) timer = window.setTimeout(ask, every);
    };
    void ask();
    return () => {
      control.abort();
      clearTimeout(timer);
    };
  }, [...inputs, every, turn]);
  return { ...state, again: useCallback(() => next((count) => count + 1), []) };
}

/**
 * A value that follows another when that has rested for some milliseconds.
 * @template T
 * @param {T} value
 * @param {number} [rest]
 * @returns {T}
 */
export function useRested(value, rest = 350) {
  const [rested, set] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => set(() => value), rest);
    return () => clearTimeout(timer);
  }, [value, rest]);
  return rested;
}

/** Whether an error is about what was asked, not about the server. @param {unknown} error */
export const isRefusal = (error) => error instanceof ApiError && error.status >= 400 && error.status < 500;
