/** What another panel wants the forms of actions to begin with. */

import { Store } from '../../lib/store.js';

/**
 * @typedef {object} Wishes
 * @property {{TID: string, Name: string} | null} capture a node to capture
 * @property {string} flows a filter of flows, such as `NodeTID=…`
 */

/** @type {Store<Wishes>} */
export const wishes = new Store({ capture: /** @type {Wishes['capture']} */ (null), flows: '' });
