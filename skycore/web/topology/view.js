/** The topology on the page: the canvas with its buttons, legend, minimap and table. */

import { useStore } from '../lib/store.js';
import { html, useEffect, useRef, useState } from '../lib/ui.js';
import { readView, writeAddress } from '../shell/address.js';
import { app, shownMirror } from '../state.js';
import { announceTopologyKeys } from './keyboard.js';
import { Legend } from './legend.js';
import { Minimap } from './minimap.js';
import { listenToPointer } from './pointer.js';
import { marksOf } from './marks.js';
import { NodeTable } from './table.js';
import { Toolbar } from './toolbar.js';
import { Topology } from './topology.js';

/** @type {Topology | null} */
let current = null;

/** The one topology of the page, once it is there. */
export const topology = () => current;

export function TopologyView() {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [view, show] = useState(/** @type {Topology | null} */ (null));
  const [spoken, say] = useState('');
  const table = useStore(app, (state) => state.table);
  const pick = useStore(app, (state) => state.pick);
  useEffect(() => {
    const made = new Topology(/** @type {HTMLCanvasElement} */ (canvas.current));
    current = made;
    // For tests, and for whoever looks into the page: where things stand cannot be read off a canvas.
    /** @type {any} */ (made.canvas).topology = made;
    show(made);
    const unlisten = listenToPointer(made);
    announceTopologyKeys(made, say);
    const watch = new ResizeObserver(([entry]) => made.resize(entry.contentRect.width, entry.contentRect.height));
    watch.observe(/** @type {Element} */ (made.canvas.parentElement));
    const follow = () => {
      made.follow(shownMirror(app.value.moment));
      made.selected = new Set(app.value.selection);
      Object.assign(made, marksOf(made, app.value));
      made.draw();
    };
    follow();
    const unfollow = app.on((now, before) => {
      const keys = /** @type {const} */ (['moment', 'selection', 'overlays', 'highlight']);
      if (keys.some((key) => now[key] !== before[key])) follow();
      if (now.theme !== before.theme) made.recolour();
    });
    made.shapeListeners.add(() => Object.assign(made, marksOf(made, app.value)));
    readView();
    writeAddress();
    return () => {
      unlisten();
      unfollow();
      watch.disconnect();
      current = null;
    };
  }, []);
  return html`<section class="topology" aria-label="Topology">
    <div class="canvas-room">
      <canvas
        ref=${canvas}
        tabindex="0"
        role="application"
        aria-label="Picture of the network. Arrow keys go from card to card, Enter selects, V shows the same as a table."
      ></canvas>
    </div>
    <p class="spoken" role="status" aria-live="polite">${spoken}</p>
    ${view &&
    html`<${Toolbar} topology=${view} />
      <${Legend} topology=${view} />
      <${Minimap} topology=${view} />
      ${table && html`<${NodeTable} topology=${view} />`}`}
    ${pick &&
    html`<div class="pick-banner" role="alert">
      <span>${pick.text}</span>
      <button class="button" onClick=${() => pick.done(null)}>Give up (Esc)</button>
    </div>`}
  </section>`;
}
