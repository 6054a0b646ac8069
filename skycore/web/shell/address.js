/**
 * The address bar says what is shown, so that it can be sent to somebody else: filter, highlight, time, selection, the
 * open panel, and how the picture is laid out, unfolded, pinned and looked at.
 */

import { options } from '../topology/options.js';
import { topology } from '../topology/view.js';
import { app, select } from '../state.js';

/** Longer addresses are cut by some programs. */
const MOST_IDS = 60;
const SETTLED = 400;

/** @typedef {import('../state.js').Moment} Moment */

/** @returns {URLSearchParams} */
function parameters() {
  const state = app.value;
  const found = new URLSearchParams();
  const put = (/** @type {string} */ name, /** @type {string} */ value) => void (value && found.set(name, value));
  put('filter', state.filter);
  put('highlight', state.highlight.text);
  if (state.moment.mode !== 'live') put('at', String(state.moment.at));
  if (state.moment.mode === 'compare') put('from', String(state.moment.from));
  put('select', state.selection.slice(0, MOST_IDS).join(','));
  put('panel', state.dock);
  put('table', state.table ? '1' : '');
  put('layout', options.value.how === 'force' ? 'force' : '');
  put('hide', options.value.hidden.join(','));
  put('expand', options.value.everything ? '1' : '');
  const view = topology();
  if (view) {
    // Relative to what is in the middle: where that stands depends on what happened before.
    const [x, y] = view.camera.toPicture(view.camera.width / 2, view.camera.height / 2);
    const middle = view.middle();
    if (middle) put('view', [view.camera.zoom.toFixed(3), middle.id, Math.round(x - middle.tx), Math.round(y - middle.ty)].join('~'));
    const pins = [...view.pinned].slice(0, MOST_IDS).map((id) => view.model.items.get(id)).filter((item) => item !== undefined);
    const places = pins.map((item) => [item.id, Math.round(item.tx - (item.parent?.tx ?? 0)), Math.round(item.ty - (item.parent?.ty ?? 0))].join('~'));
    put('pins', places.join(','));
    for (const [name, open] of /** @type {[string, boolean][]} */ ([['open', true], ['shut', false]])) {
      const ids = [...view.model.unfolded].filter(([id, is]) => is === open && view.model.items.has(id));
      put(name, ids.slice(0, MOST_IDS).map(([id]) => id).join(','));
    }
  }
  return found;
}

/** The address of what is shown. */
export function address() {
  const text = parameters().toString();
  return `${location.origin}/${text ? `?${text}` : ''}`;
}

/** Take over what the address says; done once, before the first picture. */
export function readAddress() {
  const given = new URLSearchParams(location.search);
  const list = (/** @type {string} */ name) => (given.get(name) ?? '').split(',').filter(Boolean);
  const [at, from] = [Number(given.get('at')), Number(given.get('from'))];
  /** @type {Moment} */
  const moment = at > 0 ? (from > 0 ? { mode: 'compare', from, at } : { mode: 'past', at }) : { mode: 'live' };
  app.set({
    filter: given.get('filter') ?? '',
    highlight: { text: given.get('highlight') ?? '', found: null, error: '' },
    moment,
    dock: given.get('panel') ?? '',
    table: given.has('table'),
  });
  if (given.has('select')) select(list('select'));
  if (given.has('layout')) options.set({ how: given.get('layout') === 'force' ? 'force' : 'layered' });
  if (given.has('hide')) options.set({ hidden: list('hide') });
  if (given.has('expand')) options.set({ everything: given.get('expand') !== '0' });
}

/** The part of the address that belongs to the picture; called when that is there. */
export function readView() {
  const given = new URLSearchParams(location.search);
  const view = topology();
  if (!view) return;
  const list = (/** @type {string} */ name) => (given.get(name) ?? '').split(',').filter(Boolean);
  for (const id of list('open')) view.model.unfolded.set(id, true);
  for (const id of list('shut')) view.model.unfolded.set(id, false);
  for (const pin of list('pins')) {
    const [id, x, y] = pin.split('~');
    view.pinned.add(id);
    view.wanted.set(id, [Number(x), Number(y)]);
  }
  const [zoom, id, dx, dy] = (given.get('view') ?? '').split('~');
  if (Number(zoom) > 0) view.asked = { zoom: Number(zoom), id, dx: Number(dx) || 0, dy: Number(dy) || 0 };
}

/** Keep the address bar in step. */
export function writeAddress() {
  let timer = 0;
  const write = () => {
    const text = parameters().toString();
    history.replaceState(null, '', text ? `/?${text}` : '/');
  };
  const soon = () => {
    clearTimeout(timer);
    timer = window.setTimeout(write, SETTLED);
  };
  app.on(soon);
  options.on(soon);
  topology()?.listeners.add(soon);
}
