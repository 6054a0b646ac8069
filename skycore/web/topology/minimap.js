/** The whole picture in a corner, with the part that is seen; a click or drag looks there. */

import { html, useEffect, useRef } from '../lib/ui.js';
import { colours } from './colours.js';
import { boxOf } from './topology.js';

/** @typedef {import('./topology.js').Topology} Topology */

const WIDTH = 180;
const HEIGHT = 120;
/** It need not follow every frame. */
const DRAWN_EVERY = 120;

/** @param {{topology: Topology}} props */
export function Minimap({ topology }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  useEffect(() => {
    const map = /** @type {HTMLCanvasElement} */ (canvas.current);
    const ratio = topology.ratio;
    [map.width, map.height] = [WIDTH * ratio, HEIGHT * ratio];
    let timer = 0;
    const draw = () => {
      timer = 0;
      paintMap(map, topology, ratio);
    };
    const soon = () => void (timer ||= window.setTimeout(draw, DRAWN_EVERY));
    topology.listeners.add(soon);
    soon();
    return () => {
      clearTimeout(timer);
      topology.listeners.delete(soon);
    };
  }, [topology]);
  const look = (/** @type {PointerEvent} */ event) => {
    if (!(event.buttons & 1)) return;
    const { camera } = topology;
    const scale = scaleOf(topology);
    if (!scale) return;
    const x = (event.offsetX - scale.x) / scale.zoom;
    const y = (event.offsetY - scale.y) / scale.zoom;
    camera.fly(camera.zoom, camera.width / 2 - x * camera.zoom, camera.height / 2 - y * camera.zoom, 0);
    topology.draw();
  };
  return html`<canvas class="minimap" ref=${canvas} aria-hidden="true" onPointerDown=${look} onPointerMove=${look}></canvas>`;
}

/** @param {Topology} topology */
function scaleOf(topology) {
  const box = boxOf(topology.items);
  if (!box) return null;
  const zoom = Math.min((WIDTH - 12) / (box.right - box.left), (HEIGHT - 12) / (box.bottom - box.top));
  return {
    zoom,
    x: WIDTH / 2 - (zoom * (box.left + box.right)) / 2,
    y: HEIGHT / 2 - (zoom * (box.top + box.bottom)) / 2,
  };
}

/** @param {HTMLCanvasElement} map @param {Topology} topology @param {number} ratio */
function paintMap(map, topology, ratio) {
  const context = /** @type {CanvasRenderingContext2D} */ (map.getContext('2d'));
  const scale = scaleOf(topology);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, WIDTH, HEIGHT);
  if (!scale) return;
  for (const item of topology.items) {
    const down = item.state === 'down' && item.form !== 'group';
    context.fillStyle = item.form === 'group' ? colours['panel-2'] : down ? colours.bad : colours[item.hue];
    const [width, height] = [Math.max(1, item.w * scale.zoom), Math.max(1, item.h * scale.zoom)];
    context.fillRect(item.x * scale.zoom + scale.x - width / 2, item.y * scale.zoom + scale.y - height / 2, width, height);
  }
  const view = topology.camera.view();
  context.strokeStyle = colours.accent;
  context.lineWidth = 1.5;
  context.strokeRect(
    Math.max(1, view.left * scale.zoom + scale.x),
    Math.max(1, view.top * scale.zoom + scale.y),
    Math.min(WIDTH - 2, (view.right - view.left) * scale.zoom),
    Math.min(HEIGHT - 2, (view.bottom - view.top) * scale.zoom),
  );
}
