/** Keyboard: each key is announced once with what it does, so that the help page cannot differ from what happens. */

/**
 * @typedef {object} Key
 * @property {string} key as in `KeyboardEvent.key`, with `Ctrl+` or `Shift+` before it
 * @property {string} shown how the help page writes it
 * @property {string} does
 * @property {string} group
 * @property {(event: KeyboardEvent) => void} run
 * @property {() => boolean} [when]
 */

/** @type {Key[]} */
export const keys = [];

/** @param {Key[]} more */
export const announceKeys = (...more) => void keys.push(...more.flat());

/** @param {EventTarget | null} target */
const isTyping = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** @param {KeyboardEvent} event */
const named = (event) =>
  `${event.ctrlKey || event.metaKey ? 'Ctrl+' : ''}${event.shiftKey && event.key.length > 1 ? 'Shift+' : ''}${event.key}`;

export function listenToKeys() {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.altKey) return;
    if (isTyping(event.target) && event.key !== 'Escape') return;
    const name = named(event);
    const key = keys.find((one) => one.key === name && (one.when?.() ?? true));
    if (!key) return;
    event.preventDefault();
    key.run(event);
  });
}
