/** Fields of forms, each with its label and what is wrong with it. */

import { html, useRef, useState } from '../../lib/ui.js';
import { wordsOf } from './asked.js';

let made = 0;

/** An id that no other element has. */
export function useId() {
  const id = useRef('');
  if (!id.current) id.current = `field-${++made}`;
  return id.current;
}

/**
 * @param {{label: string, value: string, set: (value: string) => void, type?: string, hint?: string, error?: string,
 *   list?: string[], required?: boolean, rows?: number, min?: number, max?: number}} props
 */
export function Field({ label, value, set, type = 'text', hint, error, list, required, rows, min, max }) {
  const id = useId();
  const about = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ') || undefined;
  const onInput = (/** @type {any} */ event) => set(event.target.value);
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${rows
      ? html`<textarea id=${id} class="input" rows=${rows} value=${value} onInput=${onInput} aria-describedby=${about} aria-invalid=${error ? 'true' : undefined} spellcheck="false"></textarea>`
      : html`<input
          id=${id}
          class="input"
          type=${type}
          value=${value}
          min=${min}
          max=${max}
          required=${required}
          list=${list && `${id}-list`}
          onInput=${onInput}
          aria-describedby=${about}
          aria-invalid=${error ? 'true' : undefined}
          autocomplete="off"
          spellcheck="false"
        />`}
    ${list && html`<datalist id=${`${id}-list`}>${list.map((one) => html`<option key=${one} value=${one}></option>`)}</datalist>`}
    ${hint && html`<small id=${`${id}-hint`} class="dim">${hint}</small>`}
    ${error && html`<pre id=${`${id}-error`} class="error" role="alert">${error}</pre>`}
  </div>`;
}

/**
 * @param {{label: string, value: string, set: (value: string) => void, options: (string | [string, string])[], hint?: string}} props
 *   options: values, or pairs of value and what is shown
 */
export function Choice({ label, value, set, options, hint }) {
  const id = useId();
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <select id=${id} class="input" value=${value} onChange=${(/** @type {any} */ event) => set(event.target.value)}>
      ${options.map((option) => {
        const [one, shown] = typeof option === 'string' ? [option, option] : option;
        return html`<option key=${one} value=${one}>${shown}</option>`;
      })}
    </select>
    ${hint && html`<small class="dim">${hint}</small>`}
  </div>`;
}

/** @param {{label: string, value: boolean, set: (value: boolean) => void}} props */
export const Tick = ({ label, value, set }) =>
  html`<label class="tick">
    <input type="checkbox" checked=${value} onChange=${(/** @type {any} */ event) => set(event.target.checked)} /> ${label}
  </label>`;

/**
 * Tabs inside a panel.
 * @param {{label: string, value: string, set: (value: string) => void, options: [string, string][]}} props
 */
export function Tabs({ label, value, set, options }) {
  const turn = (/** @type {KeyboardEvent} */ event) => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const next = (options.findIndex(([id]) => id === value) + step + options.length) % options.length;
    set(options[next][0]);
    const list = /** @type {HTMLElement} */ (event.currentTarget);
    /** @type {HTMLElement} */ (list.children[next]).focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} onKeyDown=${turn}>
    ${options.map(
      ([id, shown]) =>
        html`<button key=${id} type="button" role="tab" aria-selected=${String(id === value)} tabindex=${id === value ? 0 : -1} onClick=${() => set(id)}>${shown}</button>`,
    )}
  </div>`;
}

/**
 * Sends a form once at a time and keeps what the server said against it.
 * @param {() => Promise<void>} submit
 */
export function useSending(submit) {
  const [state, set] = useState({ busy: false, error: '' });
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (state.busy) return;
    set({ busy: true, error: '' });
    try {
      await submit();
      set({ busy: false, error: '' });
    } catch (error) {
      set({ busy: false, error: wordsOf(error) });
    }
  };
  return { ...state, send, clear: () => set({ busy: false, error: '' }) };
}
