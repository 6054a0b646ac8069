/** The captures and injections that run on a node. */

import { count } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { classes, html } from '../../lib/ui.js';
import { app, may } from '../../state.js';
import { wishes } from '../captures/wishes.js';
import { detailPanel } from '../registry.js';

/** @typedef {import('../../lib/types.js').Node} Node */
/** @typedef {{ID: string, Name?: string, State: string, Error?: string, Type?: string, BPFFilter?: string, PacketsReceived?: number, PacketsDropped?: number, PacketsIfDropped?: number}} Entry */

/** @param {{element: Node}} props */
function Captures({ element }) {
  const entries = /** @type {Entry[]} */ (element.Metadata.Captures ?? []);
  const injections = /** @type {{ID: string, UUID?: string, Type: string, State: string, PacketCount?: number, DstIP?: string}[]} */ (element.Metadata.PacketInjections ?? []);
  const begin = () => {
    wishes.set({ capture: { TID: element.Metadata.TID, Name: element.Metadata.Name } });
    app.set({ dock: 'captures' });
  };
  return html`<div class="stack">
    ${entries.map(
      (entry) =>
        html`<div key=${entry.ID} class="card">
          <div class="row">
            <strong>${entry.Name || entry.Type || 'capture'}</strong>
            <span class=${classes('chip', entry.State === 'active' ? 'good' : 'bad')}>${entry.State}</span>
            <span class="grow"></span>
            <span class="dim">${entry.Type}</span>
          </div>
          ${entry.BPFFilter && html`<code>${entry.BPFFilter}</code>`}
          ${entry.Error && html`<p class="error">${entry.Error}</p>`}
          <span class="dim">${count(entry.PacketsReceived ?? 0)} packets, ${count((entry.PacketsDropped ?? 0) + (entry.PacketsIfDropped ?? 0))} dropped</span>
        </div>`,
    )}
    ${injections.map((one) => html`<div key=${one.ID ?? one.UUID} class="card row"><${Icon} name="inject" size=${14} /> ${one.Type} to ${one.DstIP} <span class="chip">${one.State}</span> <span class="dim">${count(one.PacketCount ?? 0)} packets</span></div>`)}
    ${may('capture', 'write') && app.value.moment.mode === 'live' && html`<button type="button" class="button small" onClick=${begin}><${Icon} name="capture" size=${14} /> Capture here</button>`}
  </div>`;
}

/** Types of nodes that can be captured (docs/captures.md): those with an interface. @param {Node} element */
const capturable = (element) => !('Parent' in element) && (element.Metadata.IfIndex !== undefined || /^(ovsbridge|ovsport|dpdkport)$/.test(element.Metadata.Type));

detailPanel({
  id: 'captures',
  title: 'Captures',
  order: 12,
  when: (element, moment) => (element.Metadata.Captures?.length ?? 0) > 0 || (element.Metadata.PacketInjections?.length ?? 0) > 0 || (moment.mode === 'live' && may('capture', 'write') && capturable(element)),
  open: true,
  component: Captures,
});
