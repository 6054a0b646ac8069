/** Which links are drawn, and from what load on they are coloured. */

import { bitRate } from '../lib/format.js';
import { useStore } from '../lib/store.js';
import { html } from '../lib/ui.js';
import { thresholds } from './bandwidth.js';
import { options } from './options.js';
import { relationColour } from './paint-links.js';

/** @typedef {import('./topology.js').Topology} Topology */

/** @param {{topology: Topology, close: () => void}} props */
export function LinksMenu({ topology, close }) {
  const hidden = useStore(options, (value) => value.hidden);
  const limits = useStore(thresholds, (value) => value);
  const counts = new Map();
  for (const { relation } of topology.model.links) counts.set(relation, (counts.get(relation) ?? 0) + 1);
  for (const relation of hidden) if (!counts.has(relation)) counts.set(relation, 0);
  const flip = (/** @type {string} */ relation) =>
    options.set({
      hidden: hidden.includes(relation) ? hidden.filter((one) => one !== relation) : [...hidden, relation],
    });
  return html`<div class="menu" role="dialog" aria-label="Links and bandwidth" onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === 'Escape' && close()}>
    <h3>Links</h3>
    ${[...counts].sort().map(
      ([relation, number]) => html`<label class="switch" key=${relation}>
        <input type="checkbox" checked=${!hidden.includes(relation)} onChange=${() => flip(relation)} />
        <span class="line-sample" style=${{ background: `var(--${relationColour(relation)})` }}></span>
        <span>${relation || 'other'}</span><span class="dim">${number}</span>
      </label>`,
    )}
    ${counts.size === 0 && html`<p class="dim">There are no links here.</p>`}
    <h3>Bandwidth</h3>
    <label class="switch">
      <input type="checkbox" checked=${limits.relative} onChange=${() => thresholds.set({ relative: !limits.relative })} />
      <span>shares of the speed, where it is known</span>
    </label>
    ${/** @type {const} */ (['active', 'warning', 'alert']).map(
      (name) => html`<label class="field" key=${name}>
        <span><i class=${`dot load-${name}`}></i> ${name}</span>
        <select value=${String(limits[name])} onChange=${(/** @type {any} */ event) => thresholds.set({ [name]: Number(event.target.value) })}>
          ${[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10].map((bits) => html`<option value=${String(bits)}>from ${bitRate(bits)}</option>`)}
        </select>
      </label>`,
    )}
  </div>`;
}
