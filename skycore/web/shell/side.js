/** The details of what is selected: a section for each panel that has something to say. */

import { useElements } from '../lib/graph-hooks.js';
import { Icon } from '../lib/icons.js';
import { remember, remembered } from '../lib/local.js';
import { useStore } from '../lib/store.js';
import { html, useState } from '../lib/ui.js';
import { detailPanels } from '../panels/registry.js';
import { app, select } from '../state.js';
import { nameOf } from '../topology/kinds.js';
import { Resizer } from './resizer.js';

/** @typedef {import('../lib/types.js').Node} Node */
/** @typedef {import('../lib/types.js').Edge} Edge */

/** @param {Node | Edge} element */
export const titleOf = (element) => ('Parent' in element ? String(element.Metadata.RelationType ?? 'edge') : nameOf(element));

/** @param {{panel: import('../panels/registry.js').DetailPanel, element: Node | Edge}} props */
function Section({ panel, element }) {
  const moment = useStore(app, (state) => state.moment);
  const [open, set] = useState(remembered(`section.${panel.id}`, panel.open ?? false));
  if (!panel.when(element, moment)) return null;
  const toggle = (/** @type {Event} */ event) => {
    const now = /** @type {HTMLDetailsElement} */ (event.target).open;
    if (event.target !== event.currentTarget || now === open) return;
    set(now);
    remember(`section.${panel.id}`, now);
  };
  return html`<details class="section" open=${open} onToggle=${toggle}>
    <summary>${panel.title}</summary>
    ${open && html`<div class="section-body"><${panel.component} element=${element} moment=${moment} /></div>`}
  </details>`;
}

export function Side() {
  const selection = useStore(app, (state) => state.selection);
  const side = useStore(app, (state) => state.side);
  const elements = useElements(selection);
  const [width, widen] = useState(remembered('side.width', 360));
  const [chosen, choose] = useState('');
  if (!side || !selection.length) return null;
  const element = elements.find((one) => one.ID === chosen) ?? elements.at(-1);
  return html`<aside class="side" style=${{ width: `${width}px` }} aria-label="Details">
    <${Resizer} way="left" size=${width} least=${260} most=${900} name="side.width" change=${widen} />
    <header>
      ${elements.length > 1
        ? html`<div class="tabs" role="tablist">
            ${elements.slice(-8).map(
              (one) => html`<button role="tab" key=${one.ID} aria-selected=${one === element} onClick=${() => choose(one.ID)}>${titleOf(one)}</button>`,
            )}
          </div>`
        : html`<h2>${element ? titleOf(element) : 'Gone'}</h2>`}
      <button class="tool" aria-label="Close the details" onClick=${() => select([])}><${Icon} name="close" /></button>
    </header>
    <div class="side-body">
      ${element
        ? detailPanels.map((panel) => html`<${Section} key=${panel.id} panel=${panel} element=${element} />`)
        : html`<p class="empty">What was selected is not there at this time.</p>`}
    </div>
  </aside>`;
}
