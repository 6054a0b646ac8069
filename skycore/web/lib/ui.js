/** What components are written with: `html` templates and hooks; see docs/webui.md. */

import htm from '../vendor/htm.js';
import { h } from '../vendor/preact.js';

export { useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from '../vendor/hooks.js';
export { Fragment, createPortal, h, render } from '../vendor/preact.js';

export const html = /** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */ (htm.bind(h));

/**
 * Class names from words and conditions: `classes('a', on && 'b')`.
 * @param {...(string | false | null | undefined)} names
 */
export const classes = (...names) => names.filter(Boolean).join(' ');
