/** Numbers and times as people read them. */

const BITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];
const BYTES = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/**
 * @param {number} value
 * @param {string[]} units
 */
function scaled(value, units) {
  let step = 0;
  let shown = Math.abs(value);
  while (shown >= 999.5 && step < units.length - 1) {
    shown /= 1000;
    step += 1;
  }
  const digits = shown >= 100 || step === 0 ? 0 : 1;
  return `${value < 0 ? '-' : ''}${shown.toFixed(digits)} ${units[step]}`;
}

/** Bits a second. @param {number} value */
export const bitRate = (value) => scaled(value, BITS);

/** @param {number} value */
export const byteCount = (value) => scaled(value, BYTES);

/** @param {number} value */
export const count = (value) => value.toLocaleString('en-GB');

/** @param {number} value @param {number} [width] */
const padded = (value, width = 2) => String(value).padStart(width, '0');

/** Local time of day with seconds; milliseconds since the epoch. @param {number} at */
export function timeOfDay(at) {
  const date = new Date(at);
  return `${padded(date.getHours())}:${padded(date.getMinutes())}:${padded(date.getSeconds())}`;
}

/** Local date and time. @param {number} at */
export function dateTime(at) {
  const date = new Date(at);
  return `${date.getFullYear()}-${padded(date.getMonth() + 1)}-${padded(date.getDate())} ${timeOfDay(at)}`;
}

/** How long something takes, or took: 1h 5m. @param {number} milliseconds */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 ? `${minutes}m ${seconds % 60}s` : `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours}h ${minutes % 60}m` : `${hours}h`;
  return `${Math.floor(hours / 24)}d`;
}

const UNITS = /** @type {Record<string, number>} */ ({ ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 });

/**
 * A moment as people write it: `-10m`, `1h30m`, `14:05`, `2026-11-23 14:05:10`, milliseconds; null when it is none.
 * @param {string} text
 * @param {number} now
 * @returns {number | null}
 */
export function readMoment(text, now) {
  const bare = text.trim();
  const relative = /^-?\s*((?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d|w)\s*)+)(?:ago)?$/.exec(bare);
  if (relative) {
    let back = 0;
    for (const [, amount, unit] of relative[1].matchAll(/(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)/g)) {
      back += Number(amount) * UNITS[unit];
    }
    return now - back;
  }
  if (/^\d{12,14}$/.test(bare)) return Number(bare);
  const clock = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(bare);
  if (clock) {
    const date = new Date(now);
    date.setHours(Number(clock[1]), Number(clock[2]), Number(clock[3] ?? 0), 0);
    return date.getTime() > now ? date.getTime() - 864e5 : date.getTime();
  }
  const whole = /^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?$/.test(bare);
  const at = whole ? Date.parse(bare.replace(' ', 'T')) : NaN;
  return Number.isNaN(at) ? null : at;
}
