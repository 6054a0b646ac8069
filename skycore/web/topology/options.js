/** How the user wants the topology drawn; this browser remembers. */

import { remember, remembered } from '../lib/local.js';
import { Store } from '../lib/store.js';

/**
 * @typedef {object} Options
 * @property {'layered' | 'force'} how
 * @property {string[]} hidden relations whose links are not drawn
 * @property {boolean} everything nothing folded and no bundles
 */

/** @type {Store<Options>} */
export const options = new Store(
  /** @type {Options} */ ({ how: 'layered', hidden: [], everything: false, ...remembered('topology', {}) }),
);
options.on(({ how, hidden }) => remember('topology', { how, hidden }));
