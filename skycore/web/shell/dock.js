/** The panel below the picture. */

import { Icon } from '../lib/icons.js';
import { remembered } from '../lib/local.js';
import { useStore } from '../lib/store.js';
import { classes, html, useState } from '../lib/ui.js';
import { dockPanels } from '../panels/registry.js';
import { app } from '../state.js';
import { Resizer } from './resizer.js';

export function Dock() {
  const dock = useStore(app, (state) => state.dock);
  const whole = useStore(app, (state) => state.dockWhole);
  useStore(app, (state) => state.rights);
  const [height, raise] = useState(remembered('dock.height', 320));
  const panel = dockPanels.find((one) => one.id === dock && (one.when?.() ?? true));
  if (!panel) return null;
  return html`<section class=${classes('dock', whole && 'whole')} style=${whole ? {} : { height: `${height}px` }} aria-label=${panel.title}>
    ${!whole && html`<${Resizer} way="top" size=${height} least=${140} most=${window.innerHeight - 220} name="dock.height" change=${raise} />`}
    <header>
      <${Icon} name=${panel.icon} />
      <h2>${panel.title}</h2>
      <span class="grow"></span>
      <button class="tool" aria-label=${whole ? 'Beside the picture' : 'Whole window'} aria-pressed=${whole} onClick=${() => app.set({ dockWhole: !whole })}>
        <${Icon} name="whole" />
      </button>
      <button class="tool" aria-label="Close the panel" onClick=${() => app.set({ dock: '' })}><${Icon} name="close" /></button>
    </header>
    <div class="dock-body"><${panel.component} key=${panel.id} /></div>
  </section>`;
}
