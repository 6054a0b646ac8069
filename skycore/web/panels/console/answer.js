/** What an answer of the query language is made of, and how it may be looked at. */

import { paths } from '../parts/values.js';

/** @typedef {import('../../lib/types.js').Node} Node */
/** @typedef {import('../../lib/types.js').Edge} Edge */
/** @typedef {{nodes: Node[], edges: Edge[]}} Elements */
/** @typedef {Record<string, unknown> & {$: number}} Row `$`: its place in the answer */

const ROWS_FOR_COLUMNS = 200;
const COLUMNS_AT_FIRST = 9;

/** @param {unknown} value @returns {value is Record<string, any>} */
export const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * All nodes and edges in an answer, each once.
 * @param {any} result
 * @returns {Elements}
 */
export function elementsIn(result) {
  const nodes = /** @type {Map<string, Node>} */ (new Map());
  const edges = /** @type {Map<string, Edge>} */ (new Map());
  const take = (/** @type {any} */ value, /** @type {number} */ depth) => {
    if (Array.isArray(value)) {
      for (const one of value) take(one, depth);
    } else if (isObject(value)) {
      if (typeof value.ID === 'string' && isObject(value.Metadata)) {
        if (typeof value.Parent === 'string') edges.set(value.ID, /** @type {Edge} */ (value));
        else nodes.set(value.ID, /** @type {Node} */ (value));
      } else if (depth < 4) {
        for (const one of Object.values(value)) if (typeof one === 'object') take(one, depth + 1);
      }
    }
  };
  take(result, 0);
  return { nodes: [...nodes.values()], edges: [...edges.values()] };
}

/**
 * The members of an answer as rows of a table.
 * @param {any} result
 * @returns {Row[]}
 */
export function rowsOf(result) {
  const list = Array.isArray(result) ? result : result === null || result === undefined ? [] : [result];
  /** @type {Row[]} */
  const rows = [];
  const add = (/** @type {Record<string, unknown>} */ fields) => rows.push({ ...fields, $: rows.length });
  for (const one of list) {
    if (!isObject(one)) add({ value: one });
    else if (Array.isArray(one.Nodes) || Array.isArray(one.Edges)) for (const element of [...(one.Nodes ?? []), ...(one.Edges ?? [])]) add(element);
    else if (Object.values(one).every((member) => Array.isArray(member) && member.every(isObject)) && Object.keys(one).length)
      // Metrics, sockets, groups: by what they belong to.
      for (const [of, members] of Object.entries(one)) for (const member of members) add({ of, ...member });
    else add(one);
  }
  return rows;
}

/**
 * The paths that rows have, the most telling first, and which of them are shown at first.
 * @param {Row[]} rows
 * @returns {{key: string, rare: boolean}[]}
 */
export function columnsOf(rows) {
  const counts = /** @type {Map<string, number>} */ (new Map());
  for (const row of rows.slice(0, ROWS_FOR_COLUMNS)) {
    for (const path of paths(row)) if (path !== '$') counts.set(path, (counts.get(path) ?? 0) + 1);
  }
  const first = ['of', 'Metadata.Name', 'Metadata.Type', 'Metadata.State', 'Host', 'Metadata.IPV4', 'Metadata.RelationType', 'LayersPath', 'Application', 'Network.A', 'Network.B', 'Transport.A', 'Transport.B', 'Metric.ABBytes', 'Metric.BABytes', 'Start', 'Last'];
  const weight = (/** @type {string} */ key) => {
    const place = first.indexOf(key);
    return place >= 0 ? place : 100 + key.split('.').length * 10;
  };
  const known = rows.some((row) => isObject(row.Metadata)) || rows.some((row) => 'LayersPath' in row);
  return [...counts.keys()]
    .sort((one, other) => weight(one) - weight(other))
    .map((key, at) => ({ key, rare: at >= COLUMNS_AT_FIRST || (known && weight(key) >= 100) }));
}

/**
 * Numbers over time, when the answer has some: objects with `Start` and `Last`, by what they belong to.
 * @param {any} result
 * @returns {{of: string, metrics: (Record<string, number> & {Start: number, Last: number})[]}[]}
 */
export function seriesIn(result) {
  const isMetric = (/** @type {any} */ one) => isObject(one) && typeof one.Start === 'number' && typeof one.Last === 'number' && !('UUID' in one);
  if (!Array.isArray(result)) return [];
  return result
    .filter(isObject)
    .flatMap((one) => Object.entries(one))
    .filter(([, list]) => Array.isArray(list) && list.length && list.every(isMetric))
    .map(([of, metrics]) => ({ of, metrics }));
}
