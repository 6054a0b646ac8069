/** A value that many look at: whoever changes it says so once, and everybody who looks is told. */

import { useEffect, useState } from '../vendor/hooks.js';

/** @template {object} T */
export class Store {
  /** @param {T} value */
  constructor(value) {
    this.value = value;
    /** @type {Set<(value: T, before: T) => void>} */
    this.listeners = new Set();
  }

  /**
   * Replace some fields; listeners hear of it at once, unless nothing is different.
   * @param {Partial<T>} fields
   */
  set(fields) {
    const before = this.value;
    const keys = /** @type {(keyof T)[]} */ (Object.keys(fields));
    if (keys.every((key) => Object.is(before[key], fields[key]))) return;
    this.value = { ...before, ...fields };
    for (const listener of [...this.listeners]) listener(this.value, before);
  }

  /**
   * Hear of changes until the function that is returned is called.
   * @param {(value: T, before: T) => void} listener
   * @returns {() => void}
   */
  on(listener) {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }
}

/**
 * What `select` gives of a store; the component is drawn again when that is another value.
 * @template {object} T
 * @template R
 * @param {Store<T>} store
 * @param {(value: T) => R} select
 * @returns {R}
 */
export function useStore(store, select) {
  const [chosen, choose] = useState(() => select(store.value));
  useEffect(() => {
    const look = () => choose(() => select(store.value));
    look();
    return store.on(look);
  }, [store]);
  return chosen;
}
