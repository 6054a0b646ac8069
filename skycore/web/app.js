/** Where the page begins. */

import { announceKeys, listenToKeys } from './lib/keys.js';
import { remember } from './lib/local.js';
import { html, render } from './lib/ui.js';
import './panels/all.js';
import { dockPanels } from './panels/registry.js';
import { ApiError } from './server/api.js';
import { connection } from './server/connection.js';
import { begin } from './server/session.js';
import { readAddress } from './shell/address.js';
import { Frame } from './shell/frame.js';
import { followFilter } from './shell/finding.js';
import { app, select } from './state.js';
import { followMoment } from './time/moment.js';

const AGAIN_AFTER = 1500;

function wearTheme() {
  document.documentElement.dataset.theme = app.value.theme;
}

/** Who serves and who asks, as often as it takes. */
async function beginAtLast() {
  try {
    await begin();
    app.set({ linkText: '' });
  } catch (error) {
    app.set({ linkText: error instanceof ApiError ? error.message : String(error) });
    setTimeout(() => void beginAtLast(), AGAIN_AFTER);
  }
}

function announce() {
  const group = 'Everywhere';
  announceKeys(
    { key: '?', shown: '?', does: 'this list', group, run: () => app.set({ help: !app.value.help }) },
    { key: 'd', shown: 'D', does: 'light or dark', group, run: () => app.set({ theme: app.value.theme === 'dark' ? 'light' : 'dark' }) },
    { key: 'Escape', shown: 'Esc', does: 'give up, close, deselect', group, run: escape },
    ...dockPanels
      .filter((panel) => panel.key)
      .map((panel) => ({
        key: /** @type {string} */ (panel.key),
        shown: /** @type {string} */ (panel.key).toUpperCase(),
        does: panel.title,
        group: 'Panels',
        when: () => panel.when?.() ?? true,
        run: () => app.set({ dock: app.value.dock === panel.id ? '' : panel.id }),
      })),
  );
}

/** One thing at a time, the topmost first. */
function escape() {
  const { pick, help, table, selection, dockWhole } = app.value;
  if (pick) pick.done(null);
  else if (help) app.set({ help: false });
  else if (dockWhole) app.set({ dockWhole: false });
  else if (table) app.set({ table: false });
  else if (selection.length) select([]);
  else app.set({ overlays: {}, highlight: { text: '', found: null, error: '' } });
}

readAddress();
wearTheme();
app.on((now, before) => {
  if (now.theme === before.theme) return;
  wearTheme();
  remember('theme', now.theme);
});
announce();
listenToKeys();
render(html`<${Frame} />`, /** @type {Element} */ (document.getElementById('app')));
followFilter();
followMoment();
connection.start();
void beginAtLast();
