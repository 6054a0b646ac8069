/** How much goes over a link, from the counters of the interfaces at its ends. */

import { bitRate } from '../lib/format.js';
import { remember, remembered } from '../lib/local.js';
import { Store } from '../lib/store.js';

/** @typedef {import('./model.js').Link} Link */
/** @typedef {import('../server/mirror.js').Mirror} Mirror */

/** Counters that are older say nothing of now. */
const TOO_OLD = 300_000;

/**
 * From what on a link is drawn as active, warning, alert: bits a second, or shares of its speed where that is known.
 * @typedef {{relative: boolean, active: number, warning: number, alert: number, share: {active: number, warning: number, alert: number}}} Thresholds
 */

/** @type {Store<Thresholds>} */
export const thresholds = new Store(
  remembered(
    'thresholds',
    /** @type {Thresholds} */ ({
      relative: true,
      active: 1e3,
      warning: 1e7,
      alert: 1e8,
      share: { active: 0.0001, warning: 0.4, alert: 0.8 },
    }),
  ),
);
thresholds.on((value) => remember('thresholds', value));

/**
 * @param {Pick<Link, 'ids'>} link
 * @param {Mirror} mirror
 * @returns {Pick<Link, 'rate' | 'speed' | 'label'>}
 */
export function bandwidthOf(link, mirror) {
  let rate = NaN;
  let speed = NaN;
  for (const id of link.ids) {
    const edge = mirror.edges.get(id);
    if (!edge || edge.Metadata.RelationType === 'ownership') continue;
    const ends = [mirror.nodes.get(edge.Child), mirror.nodes.get(edge.Parent)];
    const measured = ends.map((node) => rateOf(node?.Metadata.LastUpdateMetric)).find((one) => !Number.isNaN(one));
    if (measured !== undefined) rate = (Number.isNaN(rate) ? 0 : rate) + measured;
    for (const node of ends) {
      const bits = Number(node?.Metadata.Speed) * 1e6;
      if (bits > 0 && !(bits >= speed)) speed = bits;
    }
  }
  return { rate, speed, label: rate > 0 ? bitRate(rate) : '' };
}

/** Bits a second in both directions. @param {any} metric @param {number} [now] */
export function rateOf(metric, now = Date.now()) {
  if (!metric || now - metric.Last > TOO_OLD) return NaN;
  const seconds = (metric.Last - metric.Start) / 1000;
  if (!(seconds > 0)) return NaN;
  return (8 * ((metric.RxBytes ?? 0) + (metric.TxBytes ?? 0))) / seconds;
}

/**
 * @param {Link} link
 * @returns {'' | 'active' | 'warning' | 'alert'}
 */
export function loadOf(link) {
  const { relative, share, active, warning, alert } = thresholds.value;
  if (Number.isNaN(link.rate)) return '';
  const byShare = relative && link.speed > 0;
  const limits = byShare ? share : { active, warning, alert };
  const load = byShare ? link.rate / link.speed : link.rate;
  if (load >= limits.alert) return 'alert';
  if (load >= limits.warning) return 'warning';
  return load >= limits.active ? 'active' : '';
}
