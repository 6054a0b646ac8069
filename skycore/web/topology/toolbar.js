/** The buttons beside the picture. */

import { Icon } from '../lib/icons.js';
import { useStore } from '../lib/store.js';
import { html, useState } from '../lib/ui.js';
import { app } from '../state.js';
import { ExportMenu } from './export.js';
import { unpinAll, zoom } from './keyboard.js';
import { LinksMenu } from './links-menu.js';
import { options } from './options.js';

/** @typedef {import('./topology.js').Topology} Topology */

/**
 * @param {{icon: string, label: string, keys?: string, pressed?: boolean, onClick: () => void}} props
 */
function Tool({ icon, label, keys, pressed, onClick }) {
  const title = keys ? `${label} (${keys})` : label;
  return html`<button class="tool" title=${title} aria-label=${label} aria-pressed=${pressed} onClick=${onClick}>
    <${Icon} name=${icon} />
  </button>`;
}

/** @param {{topology: Topology}} props */
export function Toolbar({ topology }) {
  const how = useStore(options, (value) => value.how);
  const table = useStore(app, (state) => state.table);
  const [menu, open] = useState('');
  const toggle = (/** @type {string} */ name) => open(menu === name ? '' : name);
  return html`<div class="toolbar" role="toolbar" aria-label="Topology" aria-orientation="vertical">
    <${Tool} icon="plus" label="Zoom in" keys="+" onClick=${() => zoom(topology, 1.3)} />
    <${Tool} icon="minus" label="Zoom out" keys="−" onClick=${() => zoom(topology, 1 / 1.3)} />
    <${Tool} icon="fit" label="Show everything" keys="0" onClick=${() => topology.fit()} />
    <hr />
    <${Tool} icon="expand" label="Unfold one level" keys="E" onClick=${() => topology.level(true)} />
    <${Tool} icon="collapse" label="Fold one level" keys="Shift+E" onClick=${() => topology.level(false)} />
    <hr />
    <${Tool} icon="layered" label="Layers" keys="Y" pressed=${how === 'layered'} onClick=${() => options.set({ how: 'layered' })} />
    <${Tool} icon="force" label="Forces" keys="Y" pressed=${how === 'force'} onClick=${() => options.set({ how: 'force' })} />
    <${Tool} icon="pin" label="Let all pinned cards go" keys="Shift+P" onClick=${() => unpinAll(topology)} />
    <hr />
    <${Tool} icon="links" label="Links and bandwidth" pressed=${menu === 'links'} onClick=${() => toggle('links')} />
    <${Tool} icon="table" label="Table of the visible nodes" keys="V" pressed=${table} onClick=${() => app.set({ table: !table })} />
    <${Tool} icon="save" label="Save the picture" pressed=${menu === 'save'} onClick=${() => toggle('save')} />
    ${menu === 'links' && html`<${LinksMenu} topology=${topology} close=${() => open('')} />`}
    ${menu === 'save' && html`<${ExportMenu} topology=${topology} close=${() => open('')} />`}
  </div>`;
}
