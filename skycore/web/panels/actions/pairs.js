/** Metadata as lines of `Key: value` that people type. */

/**
 * Values that are JSON (numbers, true, lists …) are taken as such, others are text.  Dots in keys make objects.
 * @param {string} text
 * @returns {Record<string, any>}
 * @throws {Error} a line without a colon
 */
export function fromLines(text) {
  const found = /** @type {Record<string, any>} */ ({});
  for (const line of text.split('\n').map((one) => one.trim()).filter(Boolean)) {
    const colon = line.search(/[:=]/);
    if (colon < 1) throw new Error(`Metadata: “${line}” is no key and value, such as Rack: r12`);
    const path = line.slice(0, colon).trim().split('.');
    let place = found;
    for (const part of path.slice(0, -1)) {
      if (!Object.hasOwn(place, part) || typeof place[part] !== 'object') place[part] = {};
      place = place[part];
    }
    place[path[path.length - 1]] = valueOf(line.slice(colon + 1).trim());
  }
  return found;
}

/** @param {string} text */
function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * The other way round.
 * @param {Record<string, any> | undefined} metadata
 * @returns {string}
 */
export const lines = (metadata) => Object.entries(metadata ?? {}).map(([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`).join('\n');
