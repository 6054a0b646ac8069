/** Words and queries: what a search means, which nodes it finds, what only is shown. */

import { gremlin, atMoment, quoted } from '../server/api.js';
import { connection } from '../server/connection.js';
import { remember, remembered } from '../lib/local.js';
import { Store } from '../lib/store.js';
import { app, shown } from '../state.js';
import { nameOf } from '../topology/kinds.js';
import { topology } from '../topology/view.js';

/** @typedef {import('../lib/types.js').Node} Node */
/** @typedef {import('../server/mirror.js').Mirror} Mirror */

const AGAIN_WORDS = 400;
const AGAIN_QUERY = 1500;

/** @param {string} text */
export const isQuery = (text) => /^\s*g\s*(\.|$)/i.test(text);

/** What an element is searched by. @param {Node} node */
export function textOf(node) {
  const { Name, Type, IPV4, IPV6, MAC, Docker, Container, K8s } = node.Metadata;
  const more = [IPV4, IPV6, Docker?.ContainerName, Docker?.ImageName, Container?.ImageName, K8s?.Name, K8s?.Namespace];
  return [Name, Type, MAC, node.Host, node.ID, ...more.flat()].filter((one) => typeof one === 'string').join(' ').toLowerCase();
}

/** @param {string} text */
const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

/**
 * The nodes that have all words in them; those whose names begin with what was typed come first.
 * @param {Mirror} mirror
 * @param {string} text
 * @param {number} [most]
 * @returns {Node[]}
 */
export function search(mirror, text, most = Infinity) {
  const asked = words(text);
  if (!asked.length) return [];
  const found = [];
  for (const node of mirror.nodes.values()) {
    const has = textOf(node);
    if (!asked.every((word) => has.includes(word))) continue;
    const name = nameOf(node).toLowerCase();
    const rank = name === asked[0] ? 0 : name.startsWith(asked[0]) ? 1 : name.includes(asked[0]) ? 2 : 3;
    found.push({ node, rank, name });
  }
  found.sort((one, other) => one.rank - other.rank || one.name.localeCompare(other.name, 'en', { numeric: true }));
  return found.slice(0, most).map(({ node }) => node);
}

/** Characters that mean something in a regular expression (RE2). @param {string} text */
const literal = (text) => text.replace(/[\\.*+?^$()[\]{}|]/g, '\\$&');

/**
 * The query that gives the graph to be shown; with words, what has them all and the groups around it.
 * @param {string} text
 */
export function filterQuery(text) {
  if (!text.trim()) return '';
  if (!isQuery(text)) {
    const steps = words(text).map((word) => {
      const like = `Regex(${quoted(`(?i).*${literal(word)}.*`)})`;
      return `.HasEither('Name', ${like}, 'Type', ${like}, 'IPV4', ${like}, 'IPV6', ${like}, 'MAC', ${like})`;
    });
    return `G.V()${steps.join('')}.Ascendants(0).SubGraph()`;
  }
  const query = text.trim();
  return /^g$/i.test(query) || /\.\s*subgraph\s*\([^()]*\)\s*$/i.test(query) ? query : `${query}.SubGraph()`;
}

/** The IDs of all nodes in an answer, whatever its shape. @param {any} answer @param {Set<string>} found */
function nodesIn(answer, found) {
  if (Array.isArray(answer)) for (const one of answer) nodesIn(one, found);
  else if (answer && typeof answer === 'object') {
    if (typeof answer.ID === 'string' && answer.Metadata) {
      if (answer.Parent) found.add(answer.Parent).add(answer.Child);
      else found.add(answer.ID);
    } else if ('Nodes' in answer) nodesIn(answer.Nodes, found);
  }
  return found;
}

/** Find again what is to be highlighted, in the graph that is shown. */
async function find() {
  const { text } = app.value.highlight;
  if (!text.trim()) return;
  /** @type {Set<string> | null} */
  let found = null;
  let error = '';
  if (isQuery(text)) {
    try {
      found = nodesIn((await gremlin(atMoment(text))).result, new Set());
    } catch (failure) {
      error = failure instanceof Error ? failure.message : String(failure);
    }
  } else {
    found = new Set(search(shown(), text).map((node) => node.ID));
  }
  const { highlight } = app.value;
  if (highlight.text !== text) return;
  const same = found && highlight.found?.size === found.size && [...found].every((id) => highlight.found?.has(id));
  if (!same || highlight.error !== error) app.set({ highlight: { text, found: found ?? highlight.found, error } });
}

/** Highlight what words or a query find; empty: nothing any more. @param {string} text */
export const highlight = (text) => app.set({ highlight: { text, found: null, error: '' } });

/** Keep the picture to the filter, and the highlight to the graph. */
export function followFilter() {
  let timer = 0;
  let unfollow = () => {};
  const soon = () => {
    const wait = isQuery(app.value.highlight.text) ? AGAIN_QUERY : AGAIN_WORDS;
    timer ||= window.setTimeout(() => {
      timer = 0;
      void find();
    }, wait);
  };
  const follow = () => {
    unfollow();
    unfollow = shown().on(() => app.value.highlight.text && soon());
  };
  connection.filter = filterQuery(app.value.filter);
  follow();
  void find();
  app.on((now, before) => {
    if (now.filter !== before.filter) {
      connection.show(filterQuery(now.filter));
      fitNext();
    }
    if (now.moment !== before.moment) follow();
    if (now.highlight.text !== before.highlight.text || (now.phase === 'in' && before.phase !== 'in')) void find();
  });
}

/** After another filter the picture is another one. */
function fitNext() {
  const view = topology();
  if (!view) return;
  view.model.unfolded.clear();
  view.fitted = false;
}

/** @typedef {{name: string, text: string}} Favourite */

/** @type {Store<{list: Favourite[]}>} */
export const favourites = new Store({ list: remembered('favourites', /** @type {Favourite[]} */ ([])) });
favourites.on(({ list }) => remember('favourites', list));

/** @param {string} text */
export const isFavourite = (text) => favourites.value.list.some((one) => one.text === text);

/** @param {string} text */
export function flipFavourite(text) {
  const { list } = favourites.value;
  favourites.set({ list: isFavourite(text) ? list.filter((one) => one.text !== text) : [...list, { name: text, text }] });
}
