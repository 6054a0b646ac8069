/** Elements of the graph that is shown, for components: drawn again when they change. */

import { app, shownMirror } from '../state.js';
import { useStore } from './store.js';
import { useEffect, useReducer } from './ui.js';

/** @typedef {import('./types.js').Node} Node */
/** @typedef {import('./types.js').Edge} Edge */
/** @typedef {import('../server/mirror.js').Changes} Changes */

/**
 * Draw the component again when the graph changes in a way that `matters`, or another time is shown.
 * @param {(changes: Changes) => boolean} matters
 */
export function useShown(matters) {
  const [, again] = useReducer((/** @type {number} */ count) => count + 1, 0);
  const moment = useStore(app, (state) => state.moment);
  const mirror = shownMirror(moment);
  useEffect(
    () =>
      mirror.on((changes) => {
        if (matters(changes)) again(0);
      }),
    [mirror, matters],
  );
  return mirror;
}

/**
 * The elements with these IDs that are there.
 * @param {string[]} ids
 * @returns {(Node | Edge)[]}
 */
export function useElements(ids) {
  const [, again] = useReducer((/** @type {number} */ count) => count + 1, 0);
  const mirror = shownMirror(useStore(app, (state) => state.moment));
  const named = ids.join('\0');
  useEffect(
    () =>
      mirror.on(({ touched }) => {
        if (ids.some((id) => touched.has(id))) again(0);
      }),
    [mirror, named],
  );
  return ids.map((id) => mirror.get(id)).filter((element) => element !== undefined);
}

/**
 * @param {string} id
 * @returns {Node | Edge | undefined}
 */
export const useElement = (id) => useElements([id])[0];
