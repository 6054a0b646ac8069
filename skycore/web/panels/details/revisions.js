/** What became of an element, revision by revision. */

import { dateTime, duration } from '../../lib/format.js';
import { html, useState } from '../../lib/ui.js';
import { gremlin, quoted } from '../../server/api.js';
import { app } from '../../state.js';
import { useAsked } from '../parts/asked.js';
import { Choice, Tick } from '../parts/form.js';
import { shownValue } from '../parts/values.js';
import { detailPanel } from '../registry.js';

/** @typedef {import('../../lib/types.js').Node} Node */
/** @typedef {import('../../state.js').Moment} Moment */
/** @typedef {{Old?: any, New?: any}} Change */
/** @typedef {{At: number, Until: number | null, Element: Node, Changes: Record<string, Change> | null}} Revision */

const SPANS = /** @type {[string, string][]} */ ([['3600', '1 hour'], ['86400', '1 day'], ['604800', '1 week'], ['2592000', '30 days']]);
/** Keys that change by themselves all the time. */
const RESTLESS = new Set(['Metric', 'LastUpdateMetric', 'Captures', 'PacketInjections', 'Neighbors', 'FDB', 'MDB', 'Sockets', 'SFlow', 'Ovs', 'BlockdevMetric']);
const SHOWN_AT_ONCE = 50;

/**
 * @param {Node} element
 * @param {number} until
 * @param {string} seconds
 * @param {boolean} all
 * @param {AbortSignal} signal
 * @returns {Promise<Revision[]>} the newest first
 */
async function read(element, until, seconds, all, signal) {
  const one = `G.At(${until}, ${seconds}).${'Parent' in element ? 'E' : 'V'}(${quoted(element.ID)})`;
  let keys = '';
  if (!all) {
    const known = /** @type {string[]} */ ((await gremlin(`${one}.Keys()`, signal)).result ?? []);
    const calm = new Set(known.map((key) => key.split('.')[0]).filter((key) => !RESTLESS.has(key) && !key.startsWith('@')));
    keys = [...calm].map(quoted).join(', ');
    if (!keys) return [];
  }
  const { result } = await gremlin(`${one}.Revisions(${keys})`, signal);
  return (result ?? []).flatMap((/** @type {Record<string, Revision[]>} */ found) => Object.values(found).flat()).reverse();
}

/** @param {{element: Node, moment: Moment}} props */
function Revisions({ element, moment }) {
  const [span, setSpan] = useState('86400');
  const [all, setAll] = useState(false);
  const [room, setRoom] = useState(SHOWN_AT_ONCE);
  const at = moment.mode === 'live' ? 0 : moment.at;
  const { value, error, busy, again } = useAsked((signal) => read(element, at || Date.now(), span, all, signal), [element.ID, span, all, at]);
  return html`<div class="stack">
    <div class="row">
      <${Choice} label="Time" value=${span} options=${SPANS} set=${setSpan} />
      <${Tick} label="also counters and tables" value=${all} set=${setAll} />
      <button type="button" class="button small" onClick=${again} disabled=${busy}>Read again</button>
    </div>
    ${error && html`<p class="error">${error}</p>`}
    ${value && !value.length && html`<p class="empty">Nothing changed in this time</p>`}
    <ol class="revisions">
      ${(value ?? []).slice(0, room).map((revision) => html`<${OneRevision} key=${revision.At} revision=${revision} />`)}
    </ol>
    ${value && value.length > room && html`<button type="button" class="button small" onClick=${() => setRoom(room * 4)}>${value.length - room} more</button>`}
  </div>`;
}

/** @param {{revision: Revision}} props */
function OneRevision({ revision }) {
  const { At, Until, Changes, Element } = revision;
  const gone = Element.DeletedAt !== null && Element.DeletedAt !== undefined;
  const show = () => app.set({ moment: { mode: 'past', at: At } });
  return html`<li>
    <div class="row">
      <button type="button" class="linkish" title="Show this moment" onClick=${show}>${dateTime(At)}</button>
      <span class="dim">${gone ? 'gone' : Until === null ? 'still' : `for ${duration(Until - At)}`}</span>
    </div>
    ${gone
      ? html`<span class="chip bad">ended</span>`
      : Changes
        ? html`<table class="grid bare changes">
            <tbody>
              ${Object.entries(Changes).map(
                ([key, { Old, New }]) =>
                  html`<tr key=${key}>
                    <th scope="row">${key}</th>
                    <td>${Old !== undefined && html`<del>${shownValue(key, Old)}</del>`} ${New !== undefined && html`<ins>${shownValue(key, New)}</ins>`}</td>
                  </tr>`,
              )}
            </tbody>
          </table>`
        : html`<span class="chip good">${Element.CreatedAt === At ? 'began' : 'history begins'}</span>`}
  </li>`;
}

detailPanel({ id: 'revisions', title: 'Revisions', order: 70, when: () => Boolean(app.value.rights?.History), component: Revisions });
