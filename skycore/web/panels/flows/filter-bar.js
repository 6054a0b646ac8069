/** Filters of flows: a field, a test and a value, each with what there is to choose. */

import { Icon } from '../../lib/icons.js';
import { useStore } from '../../lib/store.js';
import { html, useState } from '../../lib/ui.js';
import { app } from '../../state.js';
import { useAsked } from '../parts/asked.js';
import { useId } from '../parts/form.js';
import { asking, knownKeys, knownValues, narrow, TESTS } from './query.js';

const NAMES = /** @type {Record<string, string>} */ ({ '=': 'is', '≠': 'is not', '~': 'matches', '>': 'more than', '<': 'less than', in: 'in network' });

export function FilterBar() {
  const filters = useStore(asking, (value) => value.filters);
  const moment = useStore(app, (state) => state.moment);
  const id = useId();
  const [key, setKey] = useState('');
  const [test, setTest] = useState(/** @type {import('./query.js').Test} */ ('='));
  const [value, setValue] = useState('');
  const keys = useAsked((signal) => knownKeys(moment, signal), [moment]);
  const isKey = keys.value?.includes(key) ?? false;
  const values = useAsked(async (signal) => (isKey ? knownValues(key, moment, signal) : []), [key, isKey, moment]);
  const add = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!key.trim() || !value.trim()) return;
    narrow({ key: key.trim(), test, value: value.trim() });
    setValue('');
  };
  return html`<form class="filter-bar" aria-label="Filter of flows" onSubmit=${add}>
    <${Icon} name="filter" size=${14} />
    <input class="input small" aria-label="Field" placeholder="Field" list=${`${id}-keys`} value=${key} onInput=${(/** @type {any} */ event) => setKey(event.target.value)} autocomplete="off" />
    <datalist id=${`${id}-keys`}>${(keys.value ?? []).map((one) => html`<option key=${one} value=${one}></option>`)}</datalist>
    <select class="input small" aria-label="Test" value=${test} onChange=${(/** @type {any} */ event) => setTest(event.target.value)}>
      ${TESTS.map((one) => html`<option key=${one} value=${one}>${NAMES[one]}</option>`)}
    </select>
    <input class="input small" aria-label="Value" placeholder="Value" list=${`${id}-values`} value=${value} onInput=${(/** @type {any} */ event) => setValue(event.target.value)} autocomplete="off" />
    <datalist id=${`${id}-values`}>${(values.value ?? []).map((one) => html`<option key=${one} value=${one}></option>`)}</datalist>
    <button type="submit" class="button small" disabled=${!key.trim() || !value.trim()}>Add</button>
    ${filters.map(
      (filter, at) =>
        html`<span key=${`${filter.key}${filter.test}${filter.value}`} class="chip filter">
          ${filter.key} ${filter.test} <b>${filter.value}</b>
          <button type="button" class="copy" aria-label=${`Remove the filter ${filter.key} ${filter.test} ${filter.value}`} onClick=${() => asking.set({ filters: filters.filter((_, other) => other !== at) })}>
            <${Icon} name="close" size=${12} />
          </button>
        </span>`,
    )}
  </form>`;
}
