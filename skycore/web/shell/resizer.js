/** An edge that can be dragged, or moved by the arrow keys. */

import { remember } from '../lib/local.js';
import { html } from '../lib/ui.js';

/**
 * @param {{way: 'left' | 'top', size: number, least: number, most: number, name: string, change: (size: number) => void}} props
 *   `way`: on which side of its box it lies
 */
export function Resizer({ way, size, least, most, name, change }) {
  const set = (/** @type {number} */ wanted) => {
    const now = Math.round(Math.max(least, Math.min(most, wanted)));
    change(now);
    remember(name, now);
  };
  const begin = (/** @type {PointerEvent} */ event) => {
    const edge = /** @type {HTMLElement} */ (event.currentTarget);
    const start = way === 'left' ? event.clientX : event.clientY;
    edge.setPointerCapture(event.pointerId);
    edge.onpointermove = (move) => set(size + start - (way === 'left' ? move.clientX : move.clientY));
    edge.onpointerup = () => (edge.onpointermove = null);
  };
  const key = (/** @type {KeyboardEvent} */ event) => {
    const more = way === 'left' ? 'ArrowLeft' : 'ArrowUp';
    const less = way === 'left' ? 'ArrowRight' : 'ArrowDown';
    if (event.key !== more && event.key !== less) return;
    event.preventDefault();
    set(size + (event.key === more ? 20 : -20));
  };
  return html`<div
    class=${`resizer ${way}`}
    role="separator"
    tabindex="0"
    aria-label="Size"
    aria-orientation=${way === 'left' ? 'vertical' : 'horizontal'}
    aria-valuenow=${size}
    aria-valuemin=${least}
    aria-valuemax=${most}
    onPointerDown=${begin}
    onKeyDown=${key}
  ></div>`;
}
