/**
 * What stands before the cursor of a query that is still being typed.  The parser of the language is the server's; here
 * it only matters whether a string or a call is open, and which steps came before.
 */

/** @typedef {{name: string, start: number, arguments: string[]}} Call an open call, where its name begins, and what of it is complete */
/**
 * @typedef {object} Place
 * @property {string[]} steps names of the complete calls before, outermost only
 * @property {Call[]} calls those that are open, outermost first
 * @property {string} quote the one that opened the string the cursor is in; empty outside of one
 * @property {string} word what was typed of the string or name
 * @property {number} start where the word begins
 * @property {boolean} afterDot
 */

/**
 * @param {string} text up to the cursor
 * @returns {Place}
 */
export function scan(text) {
  const steps = /** @type {string[]} */ ([]);
  const calls = /** @type {(Call & {from: number})[]} */ ([]);
  let quote = '';
  let start = 0;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (quote) {
      if (letter === '\\') at += 1;
      else if (letter === quote) {
        quote = '';
        start = at + 1;
      }
    } else if (letter === "'" || letter === '"') {
      quote = letter;
      start = at + 1;
    } else if (letter === '(') {
      calls.push({ name: text.slice(start, at).trim(), start, arguments: [], from: at + 1 });
      start = at + 1;
    } else if (letter === ')') {
      const closed = calls.pop();
      if (closed && !calls.length) steps.push(closed.name);
      start = at + 1;
    } else if (letter === ',') {
      const open = calls.at(-1);
      if (open) {
        open.arguments.push(text.slice(open.from, at).trim());
        open.from = at + 1;
      }
      start = at + 1;
    } else if (letter === '.' || /\s/.test(letter)) {
      const before = text.slice(start, at).trim();
      if (letter === '.' && !calls.length && before.toUpperCase() === 'G') steps.push('G');
      // A full stop after digits belongs to a number.
      if (letter !== '.' || !/^[+-]?\d+$/.test(before)) start = at + 1;
    }
  }
  return {
    steps,
    calls: calls.map(({ name, start: begin, arguments: complete }) => ({ name, start: begin, arguments: complete })),
    quote,
    word: text.slice(start),
    start,
    afterDot: !quote && text.slice(0, start).trimEnd().endsWith('.'),
  };
}
