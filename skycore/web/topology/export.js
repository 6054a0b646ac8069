/** The picture as PNG and SVG, the graph behind it as JSON, and its address. */

import { copyText, download } from '../lib/download.js';
import { Icon } from '../lib/icons.js';
import { html } from '../lib/ui.js';
import { address } from '../shell/address.js';
import { shown } from '../state.js';
import { paint } from './painter.js';
import { svgOf } from './svg.js';
import { boxOf } from './topology.js';
import { Camera } from './camera.js';

/** @typedef {import('./topology.js').Topology} Topology */

/** Browsers draw no larger canvas. */
const LARGEST = 8000;

/** @param {Topology} topology @returns {Promise<Blob>} */
async function png(topology) {
  const box = boxOf(topology.items) ?? { left: 0, top: 0, right: 1, bottom: 1 };
  const [width, height] = [box.right - box.left + 60, box.bottom - box.top + 60];
  const ratio = Math.min(2, LARGEST / Math.max(width, height));
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [Math.ceil(width * ratio), Math.ceil(height * ratio)];
  const camera = new Camera();
  Object.assign(camera, { zoom: 1, x: 30 - box.left, y: 30 - box.top, width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  paint(context, { ...topology.scene(0), camera, ratio, hovered: '', focused: '' });
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('the picture is too large'))), 'image/png'),
  );
}

/** The shown graph as the server tells it. */
function json() {
  const mirror = shown();
  const graph = { Nodes: [...mirror.nodes.values()], Edges: [...mirror.edges.values()] };
  return new Blob([JSON.stringify(graph, null, 1)], { type: 'application/json' });
}

/** @param {{topology: Topology, close: () => void}} props */
export function ExportMenu({ topology, close }) {
  const name = `skycore-${new Date().toISOString().slice(0, 19).replace(/:/g, '')}`;
  const save = (/** @type {string} */ ending, /** @type {Blob} */ content) => {
    download(`${name}.${ending}`, content);
    close();
  };
  const entries = /** @type {[string, () => void][]} */ ([
    ['Picture as PNG', () => void png(topology).then((blob) => save('png', blob))],
    ['Picture as SVG', () => save('svg', new Blob([svgOf(topology)], { type: 'image/svg+xml' }))],
    ['Graph as JSON', () => save('json', json())],
  ]);
  return html`<div class="menu" role="menu" aria-label="Save the picture" onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === 'Escape' && close()}>
    ${entries.map(([text, run]) => html`<button role="menuitem" onClick=${run}><${Icon} name="save" /> ${text}</button>`)}
    <button
      role="menuitem"
      onClick=${() => {
        void copyText(address());
        close();
      }}
    >
      <${Icon} name="link" /> Copy the address of this view
    </button>
  </div>`;
}
