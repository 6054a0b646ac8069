/** Which flows are shown: filters, time and order, and the query that they make. */

import { remembered } from '../../lib/local.js';
import { Store } from '../../lib/store.js';
import { gremlin, quoted } from '../../server/api.js';

/** @typedef {import('../../state.js').Moment} Moment */
/** @typedef {import('./model.js').Flow} Flow */
/** @typedef {'=' | '≠' | '~' | '>' | '<' | 'in'} Test `~`: a pattern; `in`: an address in a network */
/** @typedef {{key: string, test: Test, value: string}} Filter */

/** What is asked of either end: of the container that sends as of the one that is sent to. */
export const EITHER = /** @type {Record<string, [string, string]>} */ (
  Object.fromEntries(['Container', 'Namespace', 'Host', 'Pod', 'Service', 'Process'].map((key) => [key, [`From.${key}`, `To.${key}`]]))
);
export const TESTS = /** @type {Test[]} */ (['=', '≠', '~', '>', '<', 'in']);
/** Seconds that are looked back; 0: what is there at the moment. */
export const SPANS = /** @type {[string, string][]} */ ([['0', 'at the moment'], ['60', 'last minute'], ['300', 'last 5 minutes'], ['600', 'last 10 minutes'], ['3600', 'last hour'], ['86400', 'last day']]);
export const LIMITS = ['30', '100', '500', '2000', '10000'];
export const ORDERS = /** @type {[string, string][]} */ ([['Last', 'the newest'], ['Metric.ABBytes', 'most bytes A→B'], ['Metric.BABytes', 'most bytes B→A'], ['Metric.RTT', 'slowest (RTT)'], ['Start', 'began last']]);

/** What the user chose; it stays while other panels are looked at. */
export const asking = new Store({
  filters: /** @type {Filter[]} */ ([]),
  span: remembered('flows.span', '0'),
  limit: remembered('flows.limit', '500'),
  order: 'Last',
  group: remembered('flows.group', 'conversation'),
  every: remembered('flows.every', '5'),
  view: 'table',
});

/** @typedef {typeof asking.value} Asked */

/** A value as Gremlin has it. @param {string} value */
const literal = (value) => (/^-?\d+(\.\d+)?$/.test(value) ? value : quoted(value));

/** @param {Test} test @param {string[]} values */
function predicate(test, values) {
  const [value] = values;
  if (test === '≠') return `Ne(${literal(value)})`;
  if (test === '~') return `Regex(${quoted(value)})`;
  if (test === '>') return `Gt(${literal(value)})`;
  if (test === '<') return `Lt(${literal(value)})`;
  if (test === 'in') return `Ipv4Range(${quoted(value)})`;
  return values.length > 1 ? `Within(${values.map(literal).join(', ')})` : literal(value);
}

/**
 * The steps of filters; several values of one key, each equal: any of them.
 * @param {Filter[]} filters
 */
export function steps(filters) {
  const equal = /** @type {Map<string, string[]>} */ (new Map());
  const tests = /** @type {{key: string, test: Test, values: string[]}[]} */ ([]);
  for (const { key, test, value } of filters) {
    const known = test === '=' ? equal.get(key) : undefined;
    if (known) {
      known.push(value);
      continue;
    }
    const values = [value];
    if (test === '=') equal.set(key, values);
    tests.push({ key, test, values });
  }
  return tests
    .map(({ key, test, values }) => {
      const is = predicate(test, values);
      const either = Object.hasOwn(EITHER, key) ? EITHER[key] : null;
      if (!either) return `.Has(${quoted(key)}, ${is})`;
      return test === '≠' ? `.Has(${quoted(either[0])}, ${is}).Has(${quoted(either[1])}, ${is})` : `.HasEither(${quoted(either[0])}, ${is}, ${quoted(either[1])}, ${is})`;
    })
    .join('');
}

/**
 * From where flows are taken.
 * @param {Moment} moment
 * @param {string} [span] seconds
 */
export function source(moment, span = '0') {
  const until = moment.mode === 'live' ? 'NOW' : String(moment.at);
  if (span !== '0') return `G.At(${until}, ${span})`;
  return moment.mode === 'live' ? 'G' : `G.At(${until})`;
}

/** @param {Asked} asked @param {Moment} moment */
export const flowsQuery = (asked, moment) =>
  `${source(moment, asked.span)}.Flows()${steps(asked.filters)}.Sort(DESC, ${quoted(asked.order)}).Limit(${asked.limit})`;

/** @param {string} query @param {AbortSignal} [signal] */
export async function ask(query, signal) {
  const { result, gaps } = await gremlin(query, signal);
  return { flows: /** @type {Flow[]} */ (Array.isArray(result) ? result : []), gaps };
}

/**
 * Fields of the flows there are, those about either end first.
 * @param {Moment} moment
 * @param {AbortSignal} signal
 * @returns {Promise<string[]>}
 */
export async function knownKeys(moment, signal) {
  const { result } = await gremlin(`${source(moment, moment.mode === 'live' ? '0' : '60')}.Flows().Limit(200).Keys()`, signal);
  return [...Object.keys(EITHER), ...(result ?? [])];
}

/**
 * Values that a field has.
 * @param {string} key
 * @param {Moment} moment
 * @param {AbortSignal} signal
 * @returns {Promise<string[]>}
 */
export async function knownValues(key, moment, signal) {
  const keys = Object.hasOwn(EITHER, key) ? EITHER[key] : [key];
  const from = source(moment, moment.mode === 'live' ? '0' : '60');
  const answers = await Promise.all(keys.map((one) => gremlin(`${from}.Flows().HasKey(${quoted(one)}).Dedup(${quoted(one)}).Limit(100).Values(${quoted(one)})`, signal)));
  const values = answers.flatMap(({ result }) => result ?? []).flat();
  return [...new Set(values.filter((value) => typeof value !== 'object').map(String))].sort();
}

/** Add a filter, once. @param {Filter} filter */
export function narrow(filter) {
  const { filters } = asking.value;
  if (filters.some((one) => one.key === filter.key && one.test === filter.test && one.value === filter.value)) return;
  asking.set({ filters: [...filters, filter] });
}
