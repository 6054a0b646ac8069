/** Works out places off the page's thread; see `nesting.js` for what is asked and answered. */

import { force } from './force.js';
import { layered } from './layered.js';
import { nest } from './nesting.js';

/** @typedef {import('./nesting.js').Job} Job */

/** @typedef {{onmessage: ((event: MessageEvent<Job>) => void) | null, postMessage: (message: unknown, transfer: Transferable[]) => void}} Scope */

const scope = /** @type {Scope} */ (/** @type {unknown} */ (self));

scope.onmessage = (/** @type {MessageEvent<Job>} */ { data }) => {
  const places = nest(data, data.how === 'force' ? force : layered);
  scope.postMessage({ serial: data.serial, places }, [places.buffer]);
};
