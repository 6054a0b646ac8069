/** Values of metadata, flows and answers as text. */

import { byteCount, dateTime } from '../../lib/format.js';

const TIMES = /(^|\.)(Start|Last|At|Until|End|CreatedAt|UpdatedAt|DeletedAt|Timestamp|Oldest|Newest)$/;
const BYTES = /Bytes$/;

/**
 * How a value under a key is shown: times as times, bytes as bytes, lists side by side, objects as JSON.
 * @param {string} key
 * @param {unknown} value
 * @returns {string}
 */
export function shownValue(key, value) {
  if (value === undefined || value === null) return '';
  if (typeof value === 'number') {
    if (TIMES.test(key) && value > 1e12 && value < 1e14) return dateTime(value);
    if (BYTES.test(key)) return byteCount(value);
    return String(value);
  }
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.every((one) => typeof one !== 'object' || one === null)) return value.join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/**
 * What stands at a dotted path.
 * @param {any} object
 * @param {string} path
 * @returns {any}
 */
export function at(object, path) {
  let value = object;
  for (const part of path.split('.')) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  return value;
}

/**
 * All paths to values that are no objects; lists count as values.
 * @param {any} object
 * @param {string} [before]
 * @returns {string[]}
 */
export function paths(object, before = '') {
  return Object.keys(object).flatMap((key) => {
    const value = object[key];
    const inner = value !== null && typeof value === 'object' && !Array.isArray(value);
    return inner ? paths(value, `${before}${key}.`) : [before + key];
  });
}

/**
 * Order of any two values: numbers, then texts, then others; what is missing last.
 * @param {unknown} one
 * @param {unknown} other
 */
export function compare(one, other) {
  const rank = (/** @type {unknown} */ value) =>
    value === undefined || value === null || value === '' ? 3 : typeof value === 'number' ? 0 : typeof value === 'string' ? 1 : 2;
  const ranks = rank(one) - rank(other);
  if (ranks) return ranks;
  if (typeof one === 'number') return one - /** @type {number} */ (other);
  return String(one).localeCompare(String(other), 'en', { numeric: true });
}
