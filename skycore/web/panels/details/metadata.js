/** Everything that is known of an element, as a tree. */

import { html, useState } from '../../lib/ui.js';
import { Copy, Tree } from '../parts/tree.js';
import { detailPanel } from '../registry.js';

/** @typedef {import('../../lib/types.js').Node} Node */

/** @param {{element: Node}} props */
function Metadata({ element }) {
  const [words, setWords] = useState('');
  return html`<div class="stack">
    <div class="row">
      <input
        class="input small grow"
        type="search"
        placeholder="Find key or value"
        aria-label="Find key or value"
        value=${words}
        onInput=${(/** @type {any} */ event) => setWords(event.target.value)}
      />
      <${Copy} what="all metadata" text=${JSON.stringify(element.Metadata, null, 2)} />
    </div>
    <${Tree} value=${element.Metadata} label="Metadata" open=${1} words=${words} />
    <${Tree} value=${frame(element)} label="Element" open=${0} />
  </div>`;
}

/** What is known of the element besides its metadata. @param {Node} element */
function frame(element) {
  const { Metadata: _, ...others } = element;
  return { Element: others };
}

detailPanel({ id: 'metadata', title: 'Metadata', order: 60, when: () => true, open: true, component: Metadata });
