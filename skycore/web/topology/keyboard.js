/** The picture by keyboard: arrows walk from card to card, letters do what the buttons do. */

import { announceKeys } from '../lib/keys.js';
import { app, select } from '../state.js';
import { options } from './options.js';
import { carry } from './pointer.js';

/** @typedef {import('./topology.js').Topology} Topology */
/** @typedef {import('./model.js').Item} Item */

const PAN = 80;

/**
 * @param {Topology} topology
 * @param {(text: string) => void} say what a screen reader says
 */
export function announceTopologyKeys(topology, say) {
  const onPicture = () => document.activeElement === topology.canvas;
  const chosen = () => topology.model.items.get(topology.focused || app.value.selection.at(-1) || '');
  const group = 'Topology';

  /** @param {string} key @param {number} dx @param {number} dy */
  const arrow = (key, dx, dy) => [
    { key, shown: 'Arrows', does: 'go to the next card that way', group, when: onPicture, run: () => walk(topology, dx, dy, say) },
    { key: `Shift+${key}`, shown: 'Shift+Arrows', does: 'move the view', group, when: onPicture, run: () => pan(topology, dx, dy) },
    { key: `Ctrl+${key}`, shown: 'Ctrl+Arrows', does: 'move the card, and pin it', group, when: onPicture, run: () => nudge(dx, dy) },
  ];

  /** @param {number} dx @param {number} dy */
  const nudge = (dx, dy) => {
    const item = chosen();
    if (!item) return;
    carry(topology, item, dx * 20, dy * 20);
    topology.draw();
  };

  announceKeys(
    ...arrow('ArrowLeft', -1, 0),
    ...arrow('ArrowRight', 1, 0),
    ...arrow('ArrowUp', 0, -1),
    ...arrow('ArrowDown', 0, 1),
    {
      key: 'Enter', shown: 'Enter', does: 'select the card', group, when: onPicture,
      run: () => {
        const item = chosen();
        if (!item) return;
        if (app.value.pick && item.node && app.value.pick.accept(item.id)) app.value.pick.done(item.id);
        else if (item.form === 'bundle') topology.toggle(item.id);
        else select([item.id]);
      },
    },
    { key: ' ', shown: 'Space', does: 'unfold or fold the card', group, when: onPicture, run: () => topology.toggle(chosen()?.id ?? '') },
    { key: '+', shown: '+', does: 'zoom in', group, run: () => zoom(topology, 1.3) },
    { key: '=', shown: '+', does: 'zoom in', group, run: () => zoom(topology, 1.3) },
    { key: '-', shown: '−', does: 'zoom out', group, run: () => zoom(topology, 1 / 1.3) },
    { key: '0', shown: '0', does: 'show everything', group, run: () => topology.fit() },
    { key: 'e', shown: 'E', does: 'unfold one level', group, run: () => topology.level(true) },
    { key: 'E', shown: 'Shift+E', does: 'fold one level', group, run: () => topology.level(false) },
    { key: 'x', shown: 'X', does: 'unfold the whole selected group', group, run: () => topology.whole(app.value.selection.at(-1) ?? null, true) },
    { key: 'X', shown: 'Shift+X', does: 'fold the whole selected group', group, run: () => topology.whole(app.value.selection.at(-1) ?? null, false) },
    { key: 'p', shown: 'P', does: 'pin the card, or let it go', group, run: () => (chosen() ? topology.pin(/** @type {Item} */ (chosen()).id) : undefined) },
    { key: 'P', shown: 'Shift+P', does: 'let all pinned cards go', group, run: () => unpinAll(topology) },
    {
      key: 'y', shown: 'Y', does: 'layers, or forces', group,
      run: () => options.set({ how: options.value.how === 'layered' ? 'force' : 'layered' }),
    },
    { key: 'r', shown: 'R', does: 'lay everything out anew', group, run: () => topology.shape(true) },
    { key: 'v', shown: 'V', does: 'the visible nodes as a table', group, run: () => app.set({ table: !app.value.table }) },
  );
}

/** @param {Topology} topology */
export function unpinAll(topology) {
  topology.pinned.clear();
  topology.wanted.clear();
  topology.shape();
}

/** @param {Topology} topology @param {number} factor */
export function zoom(topology, factor) {
  topology.camera.scale(factor);
  topology.draw();
}

/** @param {Topology} topology @param {number} dx @param {number} dy */
function pan(topology, dx, dy) {
  topology.camera.pan(-dx * PAN, -dy * PAN);
  topology.draw();
}

/** @param {Topology} topology @param {number} dx @param {number} dy @param {(text: string) => void} say */
function walk(topology, dx, dy, say) {
  const { items, camera, model } = topology;
  const from = model.items.get(topology.focused) ?? model.items.get(app.value.selection.at(-1) ?? '');
  const next = from ? beside(items, from, dx, dy) : topology.middle();
  if (!next) return;
  topology.focused = next.id;
  const [x, y] = [next.x * camera.zoom + camera.x, next.y * camera.zoom + camera.y];
  const margin = 60;
  if (x < margin || x > camera.width - margin || y < margin || y > camera.height - margin) {
    camera.fly(camera.zoom, camera.width / 2 - next.x * camera.zoom, camera.height / 2 - next.y * camera.zoom, topology.moving);
  }
  const more = next.form === 'folded' || next.form === 'bundle' ? `, folded, ${next.inside} inside` : '';
  const where = next.parent ? `, in ${next.parent.label}` : '';
  say(`${next.label}, ${next.type}${next.state ? `, ${next.state}` : ''}${where}${more}`);
  topology.draw();
}

/** The nearest in a direction, looking ahead rather than aside. @param {Item[]} items @param {Item} from @param {number} dx @param {number} dy */
function beside(items, from, dx, dy) {
  let best = null;
  let least = Infinity;
  for (const item of items) {
    if (item === from || item.form === 'group') continue;
    const ahead = (item.x - from.x) * dx + (item.y - from.y) * dy;
    const aside = Math.abs((item.x - from.x) * dy) + Math.abs((item.y - from.y) * dx);
    if (ahead <= 1 || aside > ahead * 3) continue;
    const far = ahead + aside * 2;
    if (far < least) [best, least] = [item, far];
  }
  return best;
}
