/**
 * What the whole page shares besides the graph.  Parts read it with `useStore(app, …)` and change it with `app.set(…)`;
 * the address bar follows (`shell/address.js`).
 */

import { remembered } from './lib/local.js';
import { Store } from './lib/store.js';
import { Mirror } from './server/mirror.js';

/** @typedef {import('./lib/types.js').Rights} Rights */
/** @typedef {import('./lib/types.js').About} About */
/** @typedef {import('./lib/types.js').Gap} Gap */
/**
 * @typedef {{mode: 'live'} | {mode: 'past', at: number} | {mode: 'compare', from: number, at: number}} Moment
 *   What time is shown: now; a moment; what changed between two (milliseconds since the epoch).
 */
/**
 * @typedef {object} Search
 * @property {string} text what was typed: plain words, or Gremlin beginning with `G.`
 * @property {Set<string> | null} found IDs of nodes; null when nothing is asked for
 * @property {string} error why there is no answer
 */
/**
 * @typedef {object} Overlay something drawn over the topology
 * @property {Set<string>} nodes
 * @property {Set<string>} edges
 * @property {string} colour a name from `topology/colours.js`: accent, good, warn, bad, path
 */
/**
 * @typedef {object} App
 * @property {'starting' | 'login' | 'in'} phase
 * @property {boolean} expired a session ended while the page was open
 * @property {About | null} about
 * @property {Rights | null} rights
 * @property {'connecting' | 'live' | 'lost'} link
 * @property {string} linkText why it is lost
 * @property {'dark' | 'light'} theme
 * @property {string[]} selection IDs of nodes or edges, the last one chosen last
 * @property {Moment} moment
 * @property {Gap[]} gaps of the time that is shown
 * @property {string} filter a Gremlin query or words; only what it gives is in the picture
 * @property {string} filterError
 * @property {Search} highlight
 * @property {Record<string, Overlay>} overlays by the name of who drew them
 * @property {{text: string, accept: (id: string) => boolean, done: (id: string | null) => void} | null} pick
 *   somebody waits for a node to be chosen on the picture
 * @property {string} dock the panel that is open below the picture; empty: none
 * @property {boolean} dockWhole the panel takes the picture's room
 * @property {boolean} side whether the details of the selection are shown
 * @property {boolean} table whether the visible nodes are shown as a table
 * @property {boolean} help
 */

/** @type {Store<App>} */
export const app = new Store(/** @type {App} */ ({
  phase: 'starting',
  expired: false,
  about: null,
  rights: null,
  link: 'connecting',
  linkText: '',
  theme: remembered('theme', matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark'),
  selection: [],
  moment: { mode: 'live' },
  gaps: [],
  filter: '',
  filterError: '',
  highlight: { text: '', found: null, error: '' },
  overlays: {},
  pick: null,
  dock: '',
  dockWhole: false,
  side: true,
  table: false,
  help: false,
}));

/** The graph of now, as far as the filter lets it through; it goes on while the past is shown. */
export const live = new Mirror();

/** The graph that is shown: `live`, or one of the past (`time/moment.js` fills it). */
export const past = new Mirror();

/** @param {Moment} moment */
export const shownMirror = (moment) => (moment.mode === 'live' ? live : past);

/** The graph that is on the picture at this moment. */
export const shown = () => shownMirror(app.value.moment);

/**
 * Whether the user may do something; false, too, when the server does not offer it.
 * @param {string} object
 * @param {string} action
 */
export function may(object, action) {
  const permissions = app.value.rights?.Permissions ?? [];
  return permissions.some((one) => one.Object === object && one.Action === action && one.Allowed);
}

/**
 * Draw something over the topology, or nothing any more.
 * @param {string} name
 * @param {Overlay | null} overlay
 */
export function overlay(name, overlay) {
  const { [name]: _, ...others } = app.value.overlays;
  app.set({ overlays: overlay ? { ...others, [name]: overlay } : others });
}

/**
 * Let the user choose a node on the picture; null when they gave up.
 * @param {string} text what they are asked for
 * @param {(id: string) => boolean} [accept]
 * @returns {Promise<string | null>}
 */
export function pickNode(text, accept = () => true) {
  app.value.pick?.done(null);
  return new Promise((resolve) => {
    const done = (/** @type {string | null} */ id) => {
      app.set({ pick: null });
      resolve(id);
    };
    app.set({ pick: { text, accept, done } });
  });
}

/**
 * Choose elements; with `more`, besides those that are chosen.
 * @param {string[]} ids
 * @param {boolean} [more]
 */
export function select(ids, more = false) {
  const kept = more ? app.value.selection.filter((id) => !ids.includes(id)) : [];
  const both = more && ids.length === 1 && app.value.selection.includes(ids[0]) ? kept : [...kept, ...ids];
  app.set({ selection: both });
}
