/** One box for all finding: nodes as one types, then what can be done with the words or the query. */

import { announceKeys } from '../lib/keys.js';
import { Icon } from '../lib/icons.js';
import { useStore } from '../lib/store.js';
import { classes, html, useRef, useState } from '../lib/ui.js';
import { app, select, shown } from '../state.js';
import { kindOf, nameOf, typeOf } from '../topology/kinds.js';
import { topology } from '../topology/view.js';
import { favourites, filterQuery, flipFavourite, highlight, isFavourite, isQuery, search } from './finding.js';

/** @typedef {{id: string, icon: string, hue?: string, text: string, note: string, run: () => void}} Choice */

const SUGGESTED = 9;

announceKeys({
  key: '/',
  shown: '/',
  does: 'search',
  group: 'Everywhere',
  run: () => document.getElementById('search')?.focus(),
});

/** @param {import('../lib/types.js').Node} node */
function goTo(node) {
  select([node.ID]);
  app.set({ side: true });
  topology()?.reveal([node.ID]);
}

/** @param {string} text @returns {Choice[]} */
function choicesFor(text) {
  if (!text.trim()) {
    return favourites.value.list.map((one) => ({
      id: `favourite ${one.text}`, icon: 'star', text: one.name, note: 'highlight', run: () => highlight(one.text),
    }));
  }
  const query = isQuery(text);
  const nodes = query ? [] : search(shown(), text, SUGGESTED);
  const what = query ? 'what the query gives' : `“${text.trim()}”`;
  return [
    ...nodes.map((node) => {
      const { icon, hue } = kindOf(typeOf(node));
      const addresses = [node.Metadata.IPV4].flat().filter(Boolean).join(' ');
      const note = `${node.Metadata.Type} on ${node.Host || '?'} ${addresses}`;
      return { id: node.ID, icon, hue, text: nameOf(node), note, run: () => goTo(node) };
    }),
    { id: 'highlight', icon: 'search', text: `Highlight ${what}`, note: '', run: () => highlight(text.trim()) },
    { id: 'filter', icon: 'filter', text: `Show only ${what}`, note: query ? filterQuery(text) : 'with the groups around it', run: () => app.set({ filter: text.trim() }) },
  ];
}

/** @param {{label: string, icon: string, text: string, error: string, clear: () => void}} props */
function Active({ label, icon, text, error, clear }) {
  const starred = useStore(favourites, () => isFavourite(text));
  return html`<span class=${classes('active-query', error && 'wrong')} title=${error || `${label}: ${text}`}>
    <${Icon} name=${icon} size=${14} /><span class="text">${text}</span>
    <button class="tool small" aria-label=${starred ? `Forget ${text}` : `Remember ${text}`} aria-pressed=${starred} onClick=${() => flipFavourite(text)}>
      <${Icon} name="star" size=${14} />
    </button>
    <button class="tool small" aria-label=${`Clear the ${label}`} onClick=${clear}><${Icon} name="close" size=${14} /></button>
    ${error && html`<span class="error" role="alert">${error}</span>`}
  </span>`;
}

export function SearchBox() {
  const [text, type] = useState('');
  const [open, show] = useState(false);
  const [at, move] = useState(0);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const filter = useStore(app, (state) => state.filter);
  const filterError = useStore(app, (state) => state.filterError);
  const found = useStore(app, (state) => state.highlight);
  useStore(favourites, (value) => value.list);
  const choices = open ? choicesFor(text) : [];
  const chosen = Math.min(at, choices.length - 1);
  const take = (/** @type {Choice | undefined} */ choice) => {
    if (!choice) return;
    choice.run();
    type('');
    show(false);
    topology()?.canvas.focus({ preventScroll: true });
  };
  const key = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === 'ArrowDown') move((chosen + 1) % Math.max(1, choices.length));
    else if (event.key === 'ArrowUp') move((chosen + choices.length - 1) % Math.max(1, choices.length));
    else if (event.key === 'Enter') take(choices[chosen]);
    else if (event.key === 'Escape') {
      show(false);
      type('');
      topology()?.canvas.focus({ preventScroll: true });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<div class="search" role="search">
    <div class="search-input">
      <${Icon} name="search" />
      <input
        id="search"
        ref=${input}
        type="text"
        role="combobox"
        autocomplete="off"
        spellcheck="false"
        placeholder="Search names, addresses, types, or G.V()…   ( / )"
        aria-label="Search"
        aria-expanded=${choices.length > 0}
        aria-controls="search-choices"
        aria-activedescendant=${choices.length ? `choice-${chosen}` : undefined}
        value=${text}
        onInput=${(/** @type {any} */ event) => {
          type(event.target.value);
          show(true);
          move(0);
        }}
        onFocus=${() => show(true)}
        onBlur=${() => show(false)}
        onKeyDown=${key}
      />
    </div>
    ${filter && html`<${Active} label="filter" icon="filter" text=${filter} error=${filterError} clear=${() => app.set({ filter: '', filterError: '' })} />`}
    ${found.text &&
    html`<${Active} label="highlight" icon="search" text=${`${found.text}`} error=${found.error} clear=${() => highlight('')} />
      <span class="dim" role="status">${found.found ? `${found.found.size} found` : ''}</span>`}
    <ul id="search-choices" role="listbox" aria-label="Search results" hidden=${!choices.length}>
      ${choices.map(
        (choice, index) => html`<li
          key=${choice.id}
          id=${`choice-${index}`}
          role="option"
          aria-selected=${index === chosen}
          onMouseDown=${(/** @type {Event} */ event) => {
            event.preventDefault();
            take(choice);
          }}
        >
          <span style=${choice.hue ? { color: `var(--${choice.hue})` } : {}}><${Icon} name=${choice.icon} /></span>
          <span class="text">${choice.text}</span><span class="dim">${choice.note}</span>
        </li>`,
      )}
    </ul>
  </div>`;
}
