/** What may be typed next in a query: steps, keys, values, predicates, as `GET /api/gremlin` describes the language. */

import { get, gremlin } from '../../server/api.js';
import { scan } from './scan.js';

/** @typedef {{Name: string, Aliases: string[], Parameters: string, Summary: string, Gives: Record<string, string>}} Step `Gives`: kind taken → kind given */
/** @typedef {{Steps: Step[], Predicates: string[]}} Language */
/** @typedef {{text: string, start: number, meaning: string}} Suggestion `text` replaces what was typed from `start` on */

const VALUES_AT_MOST = 100;
const SHOWN_AT_MOST = 60;
/** Steps whose arguments are keys, and those whose arguments are keys and values in turn. */
const KEYS = new Set(['haskey', 'hasnot', 'values', 'valuemap', 'dedup', 'sum', 'sort', 'group', 'revisions']);
const MOVES = new Set(['out', 'in', 'both', 'oute', 'ine', 'bothe', 'outv', 'inv', 'bothv', 'nodes', 'hops', 'capturenode', 'flows', 'descendants', 'ascendants', 'neighbors', 'subgraph']);
const WORDS = /** @type {Record<string, string[]>} */ ({ sort: ['ASC', 'DESC'], at: ['NOW', 'FOREVER'], context: ['NOW', 'FOREVER'], diff: ['NOW'] });
const GRAPH = 'graph';

/** @type {Promise<Language> | null} */
let asked = null;

/** The language of this server; asked for once. @returns {Promise<Language>} */
export function language() {
  asked ??= get('/api/gremlin').catch((error) => {
    asked = null;
    throw error;
  });
  return /** @type {Promise<Language>} */ (asked);
}

/** @param {Language} spoken @param {string} name a step's name or alias in any case */
export const stepNamed = (spoken, name) =>
  spoken.Steps.find((step) => [step.Name, ...step.Aliases].some((one) => one.toLowerCase() === name.toLowerCase()));

/**
 * What a whole query gives: a kind of `/api/gremlin`; null when a step is unknown.
 * @param {Language} spoken
 * @param {string} query
 */
export const kindOf = (spoken, query) => kindAfter(spoken, scan(query).steps);

/** @param {Language} spoken @param {string[]} steps */
function kindAfter(spoken, steps) {
  let kind = GRAPH;
  for (const name of steps) {
    if (name.toUpperCase() === 'G') continue;
    const gives = stepNamed(spoken, name)?.Gives;
    const given = gives?.[kind] ?? gives?.anything;
    if (!given) return null;
    kind = given;
  }
  return kind;
}

/** Answers that are a minute old are asked for again: the graph has moved on. */
const KEPT = 60_000;
/** @type {Map<string, {at: number, values: any[]}>} */
const known = new Map();

/** The values that a query gives; none when it cannot be answered, as what stands before may be wrong. @param {string} query @param {AbortSignal} signal */
async function values(query, signal) {
  const found = known.get(query);
  if (found && Date.now() - found.at < KEPT) return found.values;
  try {
    const { result } = await gremlin(query, signal);
    const list = Array.isArray(result) ? result : [];
    if (known.size > 200) known.clear();
    known.set(query, { at: Date.now(), values: list });
    return list;
  } catch (error) {
    if (signal.aborted) throw error;
    return [];
  }
}

/**
 * What may follow a text.
 * @param {string} text up to the cursor
 * @param {AbortSignal} signal
 * @returns {Promise<Suggestion[]>}
 */
export async function suggestions(text, signal) {
  const spoken = await language();
  const place = scan(text);
  const found = place.calls.length ? await insideCall(spoken, text, place, signal) : nextSteps(spoken, place);
  return found.filter((one) => one.text !== place.word).slice(0, SHOWN_AT_MOST);
}

/** @param {Language} spoken @param {import('./scan.js').Place} place @returns {Suggestion[]} */
function nextSteps(spoken, place) {
  if (!place.afterDot) return !place.steps.length && begins('G', place.word) ? [{ text: 'G', start: place.start, meaning: 'the graph' }] : [];
  const kind = kindAfter(spoken, place.steps);
  return spoken.Steps.flatMap((step) =>
    [step.Name, ...step.Aliases]
      .filter((name) => begins(name, place.word) && (kind === null || kind in step.Gives || 'anything' in step.Gives))
      .map((name) => ({ text: `${name}${step.Parameters === '()' ? '()' : '('}`, start: place.start, meaning: step.Summary })),
  );
}

/** @param {Language} spoken @param {string} text @param {import('./scan.js').Place} place @param {AbortSignal} signal @returns {Promise<Suggestion[]>} */
async function insideCall(spoken, text, place, signal) {
  const found = place.quote || !place.word ? await insideString(text, place, signal) : [];
  const call = place.calls[place.calls.length - 1];
  if (!place.quote) {
    const words = [...(WORDS[call.name.toLowerCase()] ?? []), ...spoken.Predicates.map((name) => `${name}(`)];
    const wanted = words.filter((word) => (place.word ? begins(word, place.word) : (WORDS[call.name.toLowerCase()] ?? []).includes(word)));
    found.push(...wanted.map((word) => ({ text: word, start: place.start, meaning: word.endsWith('(') ? 'predicate' : '' })));
  }
  return found;
}

/** @param {string} text @param {import('./scan.js').Place} place @param {AbortSignal} signal @returns {Promise<Suggestion[]>} */
async function insideString(text, place, signal) {
  let of = place.calls[place.calls.length - 1];
  // A value inside a predicate: Has('Name', Within('…
  const inPredicate = place.calls.length > 1;
  if (inPredicate) of = place.calls[place.calls.length - 2];
  const name = of.name.toLowerCase();
  const pairs = MOVES.has(name) || ['has', 'haseither', 'v', 'e'].includes(name);
  const before = stream(text.slice(0, place.calls[0].start), name);
  if (KEYS.has(name) || (pairs && !inPredicate && of.arguments.length % 2 === 0)) {
    return quoted(place, await values(`${before}.Keys()`, signal), 'key');
  }
  if (!pairs || !of.arguments.length) return [];
  const key = unquoted(of.arguments[of.arguments.length - 1]);
  if (!key) return [];
  const written = JSON.stringify(key);
  const query = `${before}.HasKey(${written}).Dedup(${written}).Limit(${VALUES_AT_MOST}).Values(${written})`;
  return quoted(place, await values(query, signal), `value of ${key}`);
}

/** @param {import('./scan.js').Place} place @param {any[]} found @param {string} meaning @returns {Suggestion[]} */
function quoted(place, found, meaning) {
  const quote = place.quote || "'";
  /** @type {Suggestion[]} */
  const suggested = [];
  for (const value of found.flat()) {
    if (typeof value === 'string') {
      // As a string of the language is written; the quote that stands there already is not repeated.
      const written = JSON.stringify(value).slice(1, -1).replaceAll('\\"', '"').replaceAll(quote, `\\${quote}`);
      if (begins(written, place.word)) suggested.push({ text: `${place.quote ? '' : quote}${written}${quote}`, start: place.start, meaning });
    } else if (typeof value === 'number' && !place.quote) {
      suggested.push({ text: String(value), start: place.start, meaning });
    }
  }
  return suggested;
}

/**
 * The query of the elements that a step chooses from.
 * @param {string} before
 * @param {string} name
 */
function stream(before, name) {
  const bare = before.trimEnd().replace(/\.$/, '').trimEnd();
  if (name === 'v' || name === 'e') return `${bare}.${name.toUpperCase()}()`;
  if (name === 'subgraph') return bare;
  return MOVES.has(name) ? `${bare}.${name}()` : bare;
}

/** @param {string} whole @param {string} typed */
const begins = (whole, typed) => whole.toLowerCase().startsWith(typed.toLowerCase());

/** @param {string} argument */
const unquoted = (argument) => (/^(['"]).*\1$/s.test(argument) && argument.length > 1 ? argument.slice(1, -1) : '');
