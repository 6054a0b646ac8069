/** All keys, as they were announced. */

import { Icon } from '../lib/icons.js';
import { keys } from '../lib/keys.js';
import { html, useEffect, useRef } from '../lib/ui.js';
import { app } from '../state.js';

export function Help() {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => dialog.current?.showModal(), []);
  const close = () => app.set({ help: false });
  const groups = new Map();
  for (const key of keys) {
    const rows = groups.get(key.group) ?? new Map();
    groups.set(key.group, rows.set(key.shown + key.does, key));
  }
  return html`<dialog class="help" ref=${dialog} onClose=${close} aria-label="Keyboard">
    <header>
      <h2>Keyboard</h2>
      <button class="tool" aria-label="Close" onClick=${close}><${Icon} name="close" /></button>
    </header>
    <div class="columns">
      ${[...groups].map(
        ([group, rows]) => html`<section key=${group}>
          <h3>${group}</h3>
          <dl>${[...rows.values()].map((key) => html`<div><dt><kbd>${key.shown}</kbd></dt><dd>${key.does}</dd></div>`)}</dl>
        </section>`,
      )}
      <section>
        <h3>Mouse</h3>
        <dl>
          <div><dt>click</dt><dd>select; with Ctrl several</dd></div>
          <div><dt>double click, Alt + click</dt><dd>unfold or fold</dd></div>
          <div><dt>Shift + click</dt><dd>pin, or let go</dd></div>
          <div><dt>drag</dt><dd>move a card, a group by its name, or the view</dd></div>
          <div><dt>wheel</dt><dd>zoom</dd></div>
        </dl>
      </section>
    </div>
  </dialog>`;
}
