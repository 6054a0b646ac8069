/** Moving in time: fills the mirror of the past with the graph of a moment, or of two that are compared. */

import { ApiError, atMoment, gremlin } from '../server/api.js';
import { announceKeys } from '../lib/keys.js';
import { notice } from '../lib/notice.js';
import { Store } from '../lib/store.js';
import { app, overlay, past } from '../state.js';
import { filterQuery } from '../shell/finding.js';

/** @typedef {import('../state.js').Moment} Moment */
/** @typedef {import('../lib/types.js').Node} Node */
/** @typedef {import('../lib/types.js').Edge} Edge */
/** @typedef {{Nodes: Node[], Edges: Edge[]}} Some */
/** @typedef {{Element: Node, Changes: Record<string, {Old?: unknown, New?: unknown}>}} Changed */
/** @typedef {{Appeared: Some, Vanished: Some, Changed: {Nodes: Changed[], Edges: Changed[]}}} Difference */

/** Counters change all the time; whoever compares wants to know of other things. */
const UNSTEADY = new Set(['Metric', 'LastUpdateMetric', 'FDB', 'Neighbors']);

/** Whether a changed key (`Key`, or `Key.inner`) is news. @param {string} key */
export const isSteady = (key) => !UNSTEADY.has(key.split('.')[0]);
const STEP = 10_000;
export const SPEEDS = [1, 10, 60, 600];

/** What is different between two moments, and whether time is running. */
export const travel = new Store(
  /** @type {{difference: Difference | null, loading: boolean, playing: boolean, speed: number}} */ ({
    difference: null,
    loading: false,
    playing: false,
    speed: 60,
  }),
);

export const toLive = () => {
  travel.set({ playing: false });
  app.set({ moment: { mode: 'live' } });
};

/** @param {number} at milliseconds since the epoch; the future is now */
export function goTo(at) {
  if (at >= Date.now() - 500) return toLive();
  app.set({ moment: { mode: 'past', at: Math.round(at) } });
}

/** @param {number} from @param {number} at in any order */
export function compare(from, at) {
  travel.set({ playing: false });
  const [first, last] = [Math.min(from, at), Math.min(Math.max(from, at), Date.now())];
  app.set({ moment: { mode: 'compare', from: Math.round(first), at: Math.round(last) } });
}

/** The moment that is shown. */
export function shownTime() {
  const { moment } = app.value;
  return moment.mode === 'live' ? Date.now() : moment.at;
}

/** @param {number} by milliseconds */
export const step = (by) => goTo(shownTime() + by);

export function play() {
  if (travel.value.playing) return travel.set({ playing: false });
  if (app.value.moment.mode !== 'past') goTo(Date.now() - 600_000);
  travel.set({ playing: true });
}

/** One request at a time; the newest wish counts. */
let serial = 0;
/** @type {AbortController | null} */
let asking = null;

/** @param {Moment} moment */
async function show(moment) {
  asking?.abort();
  if (moment.mode === 'live') {
    travel.set({ difference: null, loading: false });
    mark(null);
    return app.set({ gaps: [] });
  }
  const mine = ++serial;
  asking = new AbortController();
  travel.set({ loading: true });
  try {
    const query = filterQuery(app.value.filter) || 'G';
    const { result, gaps } = await gremlin(atMoment(query, moment), asking.signal);
    const difference = moment.mode === 'compare' ? await differenceOf(moment.from, moment.at, asking.signal) : null;
    if (mine !== serial) return;
    const [graph] = result ?? [];
    past.reset(withVanished(graph ?? { Nodes: [], Edges: [] }, difference));
    app.set({ gaps });
    travel.set({ difference, loading: false });
    mark(difference);
  } catch (error) {
    if (mine !== serial || asking.signal.aborted) return;
    travel.set({ loading: false, playing: false });
    notice(error instanceof ApiError ? error.message : String(error), 'bad');
    if (past.nodes.size === 0) toLive();
  }
}

/** @param {number} from @param {number} at @param {AbortSignal} signal @returns {Promise<Difference>} */
async function differenceOf(from, at, signal) {
  const { result } = await gremlin(`G.Diff(${from}, ${at})`, signal);
  const told = (/** @type {Changed} */ { Changes }) => Object.keys(Changes).some(isSteady);
  const { Nodes, Edges } = result.Changed;
  return { ...result, Changed: { Nodes: Nodes.filter(told), Edges: Edges.filter(told) } };
}

/** What vanished stays on the picture, to be seen as vanished. @param {{Nodes: Node[] | null, Edges: Edge[] | null}} graph @param {Difference | null} difference */
function withVanished(graph, difference) {
  if (!difference) return graph;
  const { Nodes, Edges } = difference.Vanished;
  return { Nodes: [...(graph.Nodes ?? []), ...Nodes], Edges: [...(graph.Edges ?? []), ...Edges] };
}

/** @param {Difference | null} difference */
function mark(difference) {
  const ids = (/** @type {{ID: string}[]} */ list) => new Set(list.map((one) => one.ID));
  const changed = (/** @type {Changed[]} */ list) => new Set(list.map((one) => one.Element.ID));
  const put = (/** @type {string} */ name, /** @type {Set<string>} */ nodes, /** @type {Set<string>} */ edges, /** @type {string} */ colour) =>
    overlay(name, difference && nodes.size + edges.size ? { nodes, edges, colour } : null);
  const { Appeared, Vanished, Changed } = difference ?? { Appeared: none, Vanished: none, Changed: none };
  put('difference.changed', changed(Changed.Nodes), changed(Changed.Edges), 'warn');
  put('difference.appeared', ids(Appeared.Nodes), ids(Appeared.Edges), 'good');
  put('difference.vanished', ids(Vanished.Nodes), ids(Vanished.Edges), 'bad');
}

const none = { Nodes: [], Edges: [] };

export function followMoment() {
  const group = 'Time';
  const known = () => app.value.rights?.History ?? false;
  announceKeys(
    { key: 'l', shown: 'L', does: 'back to live', group, when: known, run: toLive },
    { key: 'Home', shown: 'Home', does: 'back to live', group, when: known, run: toLive },
    { key: 'k', shown: 'K', does: 'play, or stop', group, when: known, run: play },
    { key: '[', shown: '[', does: 'ten seconds back', group, when: known, run: () => step(-STEP) },
    { key: ']', shown: ']', does: 'ten seconds on', group, when: known, run: () => step(STEP) },
    { key: '{', shown: '{', does: 'ten minutes back', group, when: known, run: () => step(-60 * STEP) },
    { key: '}', shown: '}', does: 'ten minutes on', group, when: known, run: () => step(60 * STEP) },
  );
  app.on((now, before) => {
    const again = now.filter !== before.filter && now.moment.mode !== 'live';
    const came = now.phase === 'in' && before.phase !== 'in' && now.moment.mode !== 'live';
    if (now.moment !== before.moment || again || came) {
      if (now.moment.mode !== 'compare' && before.moment.mode === 'compare') mark(null);
      void show(now.moment);
    }
  });
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    const passed = now - last;
    last = now;
    if (travel.value.playing && !travel.value.loading) step(passed * travel.value.speed);
  }, 500);
}
