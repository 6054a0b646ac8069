/**
 * Panels of plugins.  The server names their modules; the default export of each is called with what it may use
 * (docs/webui-panels.md).  One that fails is told of and left out.
 */

import { copyText, download } from '../lib/download.js';
import { byteCount, bitRate, count, dateTime, duration, timeOfDay } from '../lib/format.js';
import { useElement, useElements } from '../lib/graph-hooks.js';
import { Icon, PATHS } from '../lib/icons.js';
import { announceKeys } from '../lib/keys.js';
import { notice } from '../lib/notice.js';
import { useStore } from '../lib/store.js';
import { classes, Fragment, html, useCallback, useEffect, useMemo, useReducer, useRef, useState } from '../lib/ui.js';
import { atMoment, get, gremlin, quoted, send } from '../server/api.js';
import { app, may, overlay, pickNode, select, shown } from '../state.js';
import { drawKind } from '../topology/kinds.js';
import { useAsked, wordsOf } from './parts/asked.js';
import { Chart } from './parts/chart.js';
import { Grid } from './parts/grid.js';
import { Tree } from './parts/tree.js';
import { detailPanel, dockPanel } from './registry.js';

/** Grows when something here changes its meaning or goes away. */
const VERSION = 1;

/** @param {string} plugin */
const contract = (plugin) => ({
  version: VERSION,
  plugin,
  html,
  Fragment,
  classes,
  hooks: { useCallback, useEffect, useMemo, useReducer, useRef, useState, useStore, useElement, useElements, useAsked },
  parts: { Chart, Grid, Icon, Tree },
  format: { bitRate, byteCount, count, dateTime, duration, timeOfDay },
  server: { atMoment, get, gremlin, quoted, send },
  page: { app, may, overlay, pickNode, select, shown, notice, copyText, download },
  detailPanel,
  /** @param {import('./registry.js').DockPanel} panel */
  dockPanel(panel) {
    dockPanel(panel);
    const { key, title, id, when = () => true } = panel;
    if (key) announceKeys({ key, shown: key.toUpperCase(), does: title, group: 'Panels', when, run: () => app.set({ dock: app.value.dock === id ? '' : id }) });
  },
  /**
   * An icon of 24 × 24 as a path, under a name.
   * @param {string} name
   * @param {string} path
   */
  icon(name, path) {
    PATHS[name] = path;
  },
  drawKind,
});

/** @typedef {ReturnType<typeof contract>} Contract what a plugin's module is called with */

let asked = false;

/** Ask for the modules of plugins once, as soon as somebody may see the graph. */
async function begin() {
  if (asked || app.value.phase !== 'in' || !may('topology', 'read')) return;
  asked = true;
  try {
    for (const { Plugin, Module } of /** @type {{Plugin: string, Module: string}[]} */ (await get('/api/webpanels'))) await add(Plugin, Module);
  } catch (error) {
    asked = false;
    notice(`Panels of plugins: ${wordsOf(error)}`, 'bad');
  }
}

/** @param {string} plugin @param {string} url */
async function add(plugin, url) {
  try {
    const module = await import(url);
    await module.default(contract(plugin));
    // Whoever offers panels looks again.
    app.set({ rights: app.value.rights && { ...app.value.rights } });
  } catch (error) {
    notice(`The panels of the plugin ${plugin} are left out: ${wordsOf(error)}`, 'bad');
  }
}

app.on((now, before) => {
  if (now.phase !== before.phase) void begin();
});
