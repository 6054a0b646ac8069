/** A field for Gremlin that suggests what may come next. */

import { classes, html, useEffect, useRef, useState } from '../../lib/ui.js';
import { suggestions } from '../language/suggest.js';
import { useId } from './form.js';

/** @typedef {import('../language/suggest.js').Suggestion} Suggestion */

/**
 * @param {{label: string, value: string, set: (value: string) => void, run?: () => void, older?: () => boolean,
 *   newer?: () => boolean, rows?: number, hint?: any, error?: string}} props `run`: Ctrl+Enter, or Enter where no suggestion is
 *   chosen; `older`, `newer`: put another query here, by the up and down keys
 *   in the first and last line; false when there is none
 */
export function QueryField({ label, value, set, run, older, newer, rows = 1, hint, error }) {
  const id = useId();
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const [found, setFound] = useState(/** @type {Suggestion[]} */ ([]));
  const [chosen, choose] = useState(-1);
  const asking = useRef(/** @type {AbortController | null} */ (null));
  const timer = useRef(0);

  const close = () => {
    asking.current?.abort();
    clearTimeout(timer.current);
    setFound([]);
    choose(-1);
  };
  useEffect(() => close, []);
  const look = (/** @type {string} */ text, /** @type {number} */ wait) => {
    asking.current?.abort();
    clearTimeout(timer.current);
    const control = new AbortController();
    asking.current = control;
    timer.current = window.setTimeout(async () => {
      const more = await suggestions(text, control.signal).catch(() => []);
      if (control.signal.aborted) return;
      setFound(more);
      choose(-1);
    }, wait);
  };
  useEffect(() => {
    list.current?.children[chosen]?.scrollIntoView({ block: 'nearest' });
  }, [chosen]);

  const take = (/** @type {Suggestion} */ one) => {
    const element = /** @type {HTMLTextAreaElement} */ (area.current);
    const rest = element.value.slice(element.selectionEnd);
    const whole = element.value.slice(0, one.start) + one.text;
    set(whole + rest);
    close();
    requestAnimationFrame(() => {
      element.focus();
      element.setSelectionRange(whole.length, whole.length);
      if (!rest && !one.text.endsWith(')')) look(whole, 0);
    });
  };
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    const element = /** @type {HTMLTextAreaElement} */ (event.currentTarget);
    const turn = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (event.key === 'Escape' && found.length) {
      event.stopPropagation();
      close();
    } else if (event.key === ' ' && event.ctrlKey) {
      event.preventDefault();
      look(element.value.slice(0, element.selectionStart), 0);
    } else if (found.length && turn) {
      event.preventDefault();
      choose((chosen + turn + found.length + (chosen < 0 && turn < 0 ? 1 : 0)) % found.length);
    } else if (found.length && (event.key === 'Tab' || (event.key === 'Enter' && chosen >= 0 && !event.ctrlKey))) {
      event.preventDefault();
      take(found[Math.max(chosen, 0)]);
    } else if (event.key === 'Enter' && !event.shiftKey && run) {
      event.preventDefault();
      close();
      run();
    } else if (turn && !event.shiftKey) {
      const edge = turn < 0 ? !element.value.slice(0, element.selectionStart).includes('\n') : !element.value.slice(element.selectionEnd).includes('\n');
      if (edge && (turn < 0 ? older?.() : newer?.())) event.preventDefault();
    }
  };
  return html`<div class="field query">
    <label for=${id}>${label}</label>
    <textarea
      id=${id}
      ref=${area}
      class="input mono"
      rows=${Math.max(rows, value.split('\n').length)}
      value=${value}
      role="combobox"
      aria-expanded=${String(found.length > 0)}
      aria-autocomplete="list"
      aria-controls=${`${id}-list`}
      aria-activedescendant=${chosen >= 0 ? `${id}-${chosen}` : undefined}
      aria-invalid=${error ? 'true' : undefined}
      aria-describedby=${error ? `${id}-error` : undefined}
      spellcheck="false"
      autocomplete="off"
      onInput=${(/** @type {any} */ event) => {
        set(event.target.value);
        look(event.target.value.slice(0, event.target.selectionStart), 120);
      }}
      onKeyDown=${onKeyDown}
      onBlur=${close}
    ></textarea>
    <div id=${`${id}-list`} ref=${list} class=${classes('suggestions', !found.length && 'none')} role="listbox" aria-label="Suggestions">
      ${found.map(
        (one, at) =>
          html`<div
            key=${one.text}
            id=${`${id}-${at}`}
            role="option"
            aria-selected=${String(at === chosen)}
            onPointerDown=${(/** @type {Event} */ event) => {
              event.preventDefault();
              take(one);
            }}
          >
            <span class="mono">${one.text}</span> <span class="dim">${one.meaning}</span>
          </div>`,
      )}
    </div>
    ${hint && html`<small class="dim">${hint}</small>`}
    ${error && html`<pre id=${`${id}-error`} class="error" role="alert">${error}</pre>`}
  </div>`;
}
