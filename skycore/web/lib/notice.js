/** Short notices in the corner; they are read aloud, too. */

import { Store } from './store.js';

/** @typedef {{id: number, kind: 'good' | 'bad' | 'plain', text: string}} Notice */

export const notices = new Store({ list: /** @type {Notice[]} */ ([]) });
let last = 0;

/**
 * @param {string} text
 * @param {'good' | 'bad' | 'plain'} [kind]
 */
export function notice(text, kind = 'plain') {
  const id = ++last;
  notices.set({ list: [...notices.value.list.slice(-3), { id, kind, text }] });
  setTimeout(() => dismiss(id), kind === 'bad' ? 8000 : 3500);
}

/** @param {number} id */
export const dismiss = (id) => notices.set({ list: notices.value.list.filter((one) => one.id !== id) });
