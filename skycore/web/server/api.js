/** Asking the server; what it refuses comes as an ApiError with its own words. */

import { app } from '../state.js';

/** @typedef {import('../lib/types.js').Gap} Gap */
/** @typedef {import('../state.js').Moment} Moment */

export class ApiError extends Error {
  /** @param {number} status 0: the server did not answer @param {string} text */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/**
 * @typedef {object} Asking
 * @property {string} [method]
 * @property {BodyInit} [body]
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 */

/**
 * One request; a session that has ended leads to the login page.
 * @param {string} path
 * @param {Asking} [asking]
 * @returns {Promise<Response>}
 * @throws {ApiError}
 */
export async function ask(path, asking = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: 'same-origin', ...asking });
  } catch (error) {
    if (asking.signal?.aborted) throw error;
    throw new ApiError(0, 'the server does not answer');
  }
  if (response.ok) return response;
  const text = (await response.text()).trim();
  if (response.status === 401 && app.value.phase === 'in') app.set({ phase: 'login', expired: true });
  throw new ApiError(response.status, text || meaning(response.status));
}

/** @param {number} status */
function meaning(status) {
  if (status === 405) return 'you have no permission to do this';
  if (status === 404) return 'it is not there any more';
  return `the server answered ${status}`;
}

/**
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export const get = async (path, signal) => (await ask(path, { signal })).json();

/**
 * Send an object as JSON; what comes back, null when that is empty.
 * @param {'POST' | 'PATCH' | 'DELETE'} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
export async function send(method, path, body, headers = {}) {
  const response = await ask(path, {
    method,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return text.trim() ? JSON.parse(text) : null;
}

/**
 * The answer to a query, and the gaps that history has in its time.
 * @param {string} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<{result: any, gaps: Gap[]}>}
 */
export async function gremlin(query, signal) {
  const response = await ask('/api/topology', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ GremlinQuery: query }),
    signal,
  });
  const text = await response.text();
  const gaps = JSON.parse(response.headers.get('X-Skycore-Gaps') ?? '[]');
  return { result: text.trim() ? JSON.parse(text) : null, gaps };
}

/**
 * The same query about the moment that is shown; one that names its own time is left as it is.
 * @param {string} query
 * @param {Moment} [moment]
 */
export function atMoment(query, moment = app.value.moment) {
  if (moment.mode === 'live' || /^\s*g\s*\.\s*(at|context|diff)\s*\(/i.test(query)) return query;
  return query.replace(/^\s*g\b/i, `G.At(${moment.at})`);
}

/**
 * A string as Gremlin has it.
 * @param {string} text
 */
export const quoted = (text) => `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`;
