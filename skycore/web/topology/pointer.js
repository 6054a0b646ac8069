/** Mouse, touch and wheel on the picture. */

import { app, select } from '../state.js';

/** @typedef {import('./topology.js').Topology} Topology */
/** @typedef {import('./model.js').Item} Item */
/** @typedef {import('./model.js').Link} Link */

const CLICK = 4;

/** @param {Item | Link | null} thing @returns {thing is Item} */
export const isItem = (thing) => thing !== null && 'form' in thing;

/**
 * What elements something on the picture stands for.
 * @param {Item | Link} thing
 */
export const elementsOf = (thing) => (isItem(thing) ? (thing.form === 'bundle' ? thing.members : [thing.id]) : thing.ids);

/**
 * @param {Topology} topology
 * @returns {() => void} ends it
 */
export function listenToPointer(topology) {
  const { canvas, camera } = topology;
  /** @type {Map<number, {x: number, y: number}>} */
  const down = new Map();
  /** @type {{item: Item | null, moved: boolean, x: number, y: number} | null} */
  let drag = null;
  let pinch = 0;

  /** @param {MouseEvent} event @returns {[number, number]} */
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  /** @param {PointerEvent} event */
  const begin = (event) => {
    if (event.button !== 0) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = place(event);
    down.set(event.pointerId, { x, y });
    const thing = topology.at(x, y);
    drag = { item: isItem(thing) ? thing : null, moved: false, x, y };
    pinch = 0;
  };

  /** @param {PointerEvent} event */
  const move = (event) => {
    const [x, y] = place(event);
    const from = down.get(event.pointerId);
    if (!from || !drag) return hover(x, y);
    const [dx, dy] = [x - from.x, y - from.y];
    down.set(event.pointerId, { x, y });
    if (down.size === 2) return spread();
    if (!drag.moved && Math.hypot(x - drag.x, y - drag.y) < CLICK) {
      down.set(event.pointerId, from);
      return;
    }
    drag.moved = true;
    // A group that fills the view is background: whoever drags there wants to look elsewhere.
    const { item } = drag;
    const background = !item || (item.form === 'group' && !event.shiftKey && !onHeader(topology, item, drag.y));
    if (background) camera.pan(dx, dy);
    else carry(topology, /** @type {Item} */ (item), dx / camera.zoom, dy / camera.zoom);
    topology.draw();
  };

  const spread = () => {
    const [one, other] = [...down.values()];
    const far = Math.hypot(one.x - other.x, one.y - other.y);
    if (pinch) camera.scale(far / pinch, (one.x + other.x) / 2, (one.y + other.y) / 2);
    pinch = far;
    if (drag) drag.moved = true;
    topology.draw();
  };

  /** @param {PointerEvent} event */
  const end = (event) => {
    if (!down.delete(event.pointerId) || !drag) return;
    const { item, moved } = drag;
    drag = null;
    const [x, y] = place(event);
    if (!moved) return click(event, x, y);
    if (item && topology.pinned.has(item.id)) topology.shape();
  };

  /** @param {PointerEvent} event @param {number} x @param {number} y */
  const click = (event, x, y) => {
    const thing = topology.at(x, y);
    const { pick } = app.value;
    if (pick) {
      if (isItem(thing) && thing.node && pick.accept(thing.id)) pick.done(thing.id);
    } else if (!thing) {
      select([]);
    } else if (isItem(thing) && event.shiftKey) {
      topology.pin(thing.id);
    } else if (isItem(thing) && (event.altKey || thing.form === 'bundle')) {
      topology.toggle(thing.id);
    } else {
      select(elementsOf(thing), event.ctrlKey || event.metaKey);
      app.set({ side: true });
    }
  };

  /** @param {MouseEvent} event */
  const twice = (event) => {
    const thing = topology.at(...place(event));
    if (isItem(thing)) topology.toggle(thing.id);
  };

  /** @param {number} x @param {number} y */
  const hover = (x, y) => {
    const thing = topology.at(x, y);
    const id = thing?.id ?? '';
    canvas.style.cursor = !thing ? 'grab' : app.value.pick ? 'crosshair' : 'pointer';
    if (id === topology.hovered) return;
    topology.hovered = id;
    topology.draw();
  };

  /** @param {WheelEvent} event */
  const wheel = (event) => {
    event.preventDefault();
    const [x, y] = place(event);
    const pixels = event.deltaMode === 1 ? event.deltaY * 18 : event.deltaY;
    if (event.shiftKey) camera.pan(-(event.deltaX || event.deltaY), 0);
    else camera.scale(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0018)), x, y);
    topology.draw();
  };

  const leave = () => hover(-1e9, -1e9);
  const listeners = /** @type {[string, (event: any) => void][]} */ ([
    ['pointerdown', begin],
    ['pointermove', move],
    ['pointerup', end],
    ['pointercancel', end],
    ['pointerleave', leave],
    ['dblclick', twice],
    ['wheel', wheel],
  ]);
  for (const [name, listener] of listeners) canvas.addEventListener(name, listener, { passive: false });
  return () => {
    for (const [name, listener] of listeners) canvas.removeEventListener(name, listener);
  };
}

/** @param {Topology} topology @param {Item} group @param {number} y on the screen, where the drag began */
function onHeader(topology, group, y) {
  const [, py] = topology.camera.toPicture(0, y);
  return py - (group.y - group.h / 2) < Math.max(30, 24 / topology.camera.zoom);
}

/** Move an item with all that is in it; from then on it is pinned. @param {Topology} topology @param {Item} item @param {number} dx @param {number} dy */
export function carry(topology, item, dx, dy) {
  topology.pinned.add(item.id);
  const ahead = [item];
  for (let next = ahead.pop(); next; next = ahead.pop()) {
    for (const key of /** @type {const} */ (['x', 'x0', 'tx'])) next[key] += dx;
    for (const key of /** @type {const} */ (['y', 'y0', 'ty'])) next[key] += dy;
    ahead.push(...next.items);
  }
}
