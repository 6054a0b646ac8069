/** Tables: sorted by a click on a heading, narrowed by words, with the columns that the user chose. */

import { Icon } from '../../lib/icons.js';
import { remember, remembered } from '../../lib/local.js';
import { classes, html, useEffect, useMemo, useRef, useState } from '../../lib/ui.js';
import { compare, shownValue } from './values.js';

const SHOWN_AT_ONCE = 200;

/**
 * @template R
 * @typedef {object} Column
 * @property {string} id
 * @property {string} title
 * @property {(row: R) => unknown} value what is sorted by and searched in
 * @property {(row: R) => any} [show] how it is shown; else the value as text
 * @property {boolean} [numeric] aligned to the right, and sorted from the greatest at first
 * @property {boolean} [rare] shown only when the user asks for it
 */
/**
 * @template R
 * @typedef {object} GridProps
 * @property {string} name under which the choice of columns and the order are remembered
 * @property {string} label what the table is, for those who hear it
 * @property {Column<R>[]} columns
 * @property {R[]} rows
 * @property {(row: R) => string} keyOf
 * @property {{by: string, down?: boolean}} [order] at first
 * @property {boolean} [tools] a field to search in and the choice of columns
 * @property {any} [more] shown beside these tools
 * @property {(row: R) => void} [onRow] a row was chosen by click or Enter
 * @property {(row: R | null) => void} [onPoint] the pointer or focus is on a row, or on none
 * @property {string} [open] the key of the row whose `detail` is shown below it
 * @property {(row: R) => any} [detail]
 * @property {(row: R) => string | false | undefined} [kind] a class of the row
 * @property {string} [empty]
 */

/**
 * @template R
 * @param {GridProps<R>} props
 */
export function Grid(props) {
  const { name, columns, rows, keyOf, tools = true, empty = 'Nothing here' } = props;
  const [chosen, choose] = useState(() => remembered(`columns.${name}`, /** @type {string[] | null} */ (null)));
  const [order, setOrder] = useState(() => remembered(`order.${name}`, props.order ?? null));
  const [words, setWords] = useState('');
  const [room, setRoom] = useState(SHOWN_AT_ONCE);
  const shown = columns.filter((column) => (chosen ? chosen.includes(column.id) : !column.rare));
  const found = useMemo(() => sorted(narrowed(rows, columns, words), columns, order), [rows, columns, words, order]);

  const sort = (/** @type {Column<R>} */ column) => {
    const down = order?.by === column.id ? !order.down : Boolean(column.numeric);
    setOrder({ by: column.id, down });
    remember(`order.${name}`, { by: column.id, down });
  };
  const pick = (/** @type {string[] | null} */ ids) => {
    choose(ids);
    remember(`columns.${name}`, ids);
  };
  return html`<div class="grid-whole">
    ${(tools || props.more) &&
    html`<div class="grid-tools">
      ${tools &&
      html`<input
        class="input small"
        type="search"
        placeholder="Find in table"
        aria-label=${`Find in ${props.label}`}
        value=${words}
        onInput=${(/** @type {any} */ event) => setWords(event.target.value)}
      />`}
      ${props.more}
      <span class="grow"></span>
      <span class="dim count">${found.length === rows.length ? rows.length : `${found.length} of ${rows.length}`}</span>
      ${tools && columns.length > 3 && html`<${Columns} columns=${columns} shown=${shown} pick=${pick} reset=${() => pick(null)} />`}
    </div>`}
    ${!rows.length
      ? html`<p class="empty">${empty}</p>`
      : html`<div class="grid-scroll" tabindex="0" role="region" aria-label=${props.label}>
          <table class="grid">
            <thead>
              <tr>
                ${shown.map((column) => {
                  const sorting = order?.by === column.id ? (order.down ? 'descending' : 'ascending') : 'none';
                  return html`<th key=${column.id} class=${classes(column.numeric && 'numeric')} aria-sort=${sorting} scope="col">
                    ${column.title ? html`<button type="button" onClick=${() => sort(column)}>${column.title}</button>` : html`<span class="spoken">Actions</span>`}
                  </th>`;
                })}
              </tr>
            </thead>
            <tbody onMouseLeave=${() => props.onPoint?.(null)}>
              ${found.slice(0, room).flatMap((row) => rowOf(props, shown, row, keyOf(row)))}
            </tbody>
          </table>
          ${found.length > room &&
          html`<button type="button" class="button" onClick=${() => setRoom(room + 5 * SHOWN_AT_ONCE)}>
            Show more (${found.length - room})
          </button>`}
        </div>`}
  </div>`;
}

/**
 * @template R
 * @param {GridProps<R>} props
 * @param {Column<R>[]} shown
 * @param {R} row
 * @param {string} key
 */
function rowOf(props, shown, row, key) {
  const { onRow, onPoint } = props;
  const open = props.open === key;
  const line = html`<tr
    key=${key}
    class=${classes(onRow && 'choosable', open && 'open', props.kind?.(row))}
    tabindex=${onRow ? 0 : undefined}
    onClick=${onRow && (() => onRow(row))}
    onKeyDown=${onRow &&
    ((/** @type {KeyboardEvent} */ event) => {
      if (event.target !== event.currentTarget || (event.key !== 'Enter' && event.key !== ' ')) return;
      event.preventDefault();
      onRow(row);
    })}
    onMouseEnter=${onPoint && (() => onPoint(row))}
    onFocus=${onPoint && (() => onPoint(row))}
    onBlur=${onPoint && (() => onPoint(null))}
  >
    ${shown.map(
      (column) =>
        html`<td key=${column.id} class=${classes(column.numeric && 'numeric')}>
          ${column.show ? column.show(row) : shownValue(column.id, column.value(row))}
        </td>`,
    )}
  </tr>`;
  if (!open || !props.detail) return [line];
  return [line, html`<tr key=${`${key} detail`} class="detail"><td colspan=${shown.length}>${props.detail(row)}</td></tr>`];
}

/** @param {{columns: Column<any>[], shown: Column<any>[], pick: (ids: string[]) => void, reset: () => void}} props */
function Columns({ columns, shown, pick, reset }) {
  const [open, setOpen] = useState(false);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const ids = shown.map((column) => column.id);
  useEffect(() => {
    if (!open) return undefined;
    const leave = (/** @type {Event} */ event) => {
      if (!box.current?.contains(/** @type {Element} */ (event.target))) setOpen(false);
    };
    document.addEventListener('pointerdown', leave);
    return () => document.removeEventListener('pointerdown', leave);
  }, [open]);
  const change = (/** @type {Column<any>} */ column, /** @type {boolean} */ on) =>
    pick(columns.map(({ id }) => id).filter((id) => (id === column.id ? on : ids.includes(id))));
  return html`<div
    class="popup-anchor"
    ref=${box}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      if (event.key !== 'Escape' || !open) return;
      event.stopPropagation();
      setOpen(false);
    }}
  >
    <button type="button" class="button small" aria-expanded=${String(open)} onClick=${() => setOpen(!open)}>
      <${Icon} name="table" size=${14} /> Columns
    </button>
    ${open &&
    html`<div class="popup" role="group" aria-label="Columns">
      ${columns.map(
        (column) =>
          html`<label key=${column.id}>
            <input
              type="checkbox"
              checked=${ids.includes(column.id)}
              onChange=${(/** @type {any} */ event) => change(column, event.target.checked)}
            />
            ${column.title}
          </label>`,
      )}
      <button type="button" class="button small" onClick=${reset}>As at first</button>
    </div>`}
  </div>`;
}

/**
 * @template R
 * @param {R[]} rows
 * @param {Column<R>[]} columns
 * @param {string} words
 */
function narrowed(rows, columns, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (!wanted.length) return rows;
  return rows.filter((row) => {
    const text = columns.map((column) => shownValue(column.id, column.value(row))).join('\0').toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

/**
 * @template R
 * @param {R[]} rows
 * @param {Column<R>[]} columns
 * @param {{by: string, down?: boolean} | null} order
 */
function sorted(rows, columns, order) {
  const column = columns.find(({ id }) => id === order?.by);
  if (!column || !order) return rows;
  const missing = (/** @type {unknown} */ value) => value === undefined || value === null || value === '';
  return [...rows].sort((one, other) => {
    const values = [column.value(one), column.value(other)];
    // What is missing stands last in both directions.
    if (missing(values[0]) || missing(values[1])) return Number(missing(values[0])) - Number(missing(values[1]));
    return compare(values[0], values[1]) * (order.down ? -1 : 1);
  });
}
