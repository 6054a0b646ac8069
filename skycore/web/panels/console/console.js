/** The Gremlin console. */

import { download } from '../../lib/download.js';
import { count } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { remember, remembered } from '../../lib/local.js';
import { notice } from '../../lib/notice.js';
import { Store, useStore } from '../../lib/store.js';
import { html, useEffect, useRef, useState } from '../../lib/ui.js';
import { ask, atMoment, gremlin } from '../../server/api.js';
import { app, may, overlay } from '../../state.js';
import { kindOf, language } from '../language/suggest.js';
import { isRefusal, wordsOf } from '../parts/asked.js';
import { QueryField } from '../parts/query-field.js';
import { dockPanel } from '../registry.js';
import { Result } from './result.js';

const REMEMBERED = 100;
const PCAP = 'application/vnd.tcpdump.pcap';

/** @typedef {{query: string, result: any, kind: string | null, took: number, gaps: import('../../lib/types.js').Gap[]}} Answer */

/** What is typed and was answered outlives the panel. */
const told = new Store({
  text: 'G.V()',
  history: remembered('console.history', /** @type {string[]} */ ([])),
  answer: /** @type {Answer | null} */ (null),
  error: '',
  busy: false,
});
let running = /** @type {AbortController | null} */ (null);

/** @param {string} query */
async function run(query) {
  running?.abort();
  const control = new AbortController();
  running = control;
  const history = [query, ...told.value.history.filter((one) => one !== query)].slice(0, REMEMBERED);
  remember('console.history', history);
  told.set({ busy: true, error: '', history });
  const asked = atMoment(query);
  const began = performance.now();
  try {
    const [spoken, { result, gaps }] = await Promise.all([language(), gremlin(asked, control.signal)]);
    told.set({ answer: { query: asked, result, gaps, kind: kindOf(spoken, asked), took: performance.now() - began }, busy: false });
  } catch (error) {
    if (control.signal.aborted) return;
    told.set({ error: wordsOf(error), busy: false, answer: isRefusal(error) ? null : told.value.answer });
  }
}

function stop() {
  running?.abort();
  told.set({ busy: false });
}

function Console() {
  const { text, history, answer, error, busy } = useStore(told, (value) => value);
  const moment = useStore(app, (state) => state.moment);
  const [older, setOlder] = useState(false);
  const place = useRef(-1);
  useEffect(() => () => overlay('console', null), []);
  const bare = text.trim();
  const set = (/** @type {string} */ value) => {
    place.current = -1;
    told.set({ text: value });
  };
  const step = (/** @type {number} */ by) => () => {
    const next = place.current + by;
    if (next < 0 || next >= history.length) return false;
    place.current = next;
    told.set({ text: history[next] });
    return true;
  };
  const take = (/** @type {string} */ query) => {
    told.set({ text: query });
    setOlder(false);
  };
  const save = async () => {
    if (answer) download('answer.json', new Blob([JSON.stringify(answer.result, null, 2)], { type: 'application/json' }));
  };
  const savePackets = async () => {
    if (!answer) return;
    try {
      const headers = { Accept: PCAP, 'Content-Type': 'application/json' };
      const response = await ask('/api/topology', { method: 'POST', headers, body: JSON.stringify({ GremlinQuery: answer.query }) });
      download('packets.pcap', await response.blob());
    } catch (failure) {
      notice(wordsOf(failure), 'bad');
    }
  };
  return html`<div class="panel console">
    <${QueryField}
      label="Gremlin"
      value=${text}
      set=${set}
      run=${() => bare && run(bare)}
      older=${step(1)}
      newer=${step(-1)}
      rows=${2}
      error=${error}
    />
    <div class="row">
      ${busy
        ? html`<button type="button" class="button" onClick=${stop}>Stop</button>`
        : html`<button type="button" class="button primary" disabled=${!bare} onClick=${() => run(bare)}>Run</button>`}
      <button type="button" class="button" disabled=${!bare || busy} onClick=${() => run(`${bare.replace(/\.\s*Explain\s*\(\s*\)\s*$/i, '')}.Explain()`)}>Explain</button>
      <button type="button" class="button" aria-expanded=${String(older)} disabled=${!history.length} onClick=${() => setOlder(!older)}>
        <${Icon} name="clock" size=${14} /> History
      </button>
      <span class="grow"></span>
      ${moment.mode !== 'live' && html`<span class="chip warn">asks about the moment that is shown</span>`}
      ${answer && html`<span class="dim">${summary(answer)}</span>`}
      ${answer && html`<button type="button" class="button small" onClick=${save}><${Icon} name="save" size=${14} /> JSON</button>`}
      ${answer?.kind === 'R' && html`<button type="button" class="button small" onClick=${savePackets}><${Icon} name="save" size=${14} /> pcap</button>`}
    </div>
    ${older &&
    html`<ul class="choices" aria-label="History">
      ${history.map((one) => html`<li key=${one}><button type="button" class="linkish mono" onClick=${() => take(one)}>${one}</button></li>`)}
    </ul>`}
    ${answer?.gaps.length ? html`<p class="warn-text">History has ${answer.gaps.length} gaps in this time; what happened in them is not known.</p>` : null}
    ${answer && html`<${Result} key=${answer.kind} result=${answer.result} kind=${answer.kind} />`}
  </div>`;
}

/** @param {Answer} answer */
function summary({ result, took }) {
  const size = Array.isArray(result) ? `${count(result.length)} ${result.length === 1 ? 'item' : 'items'}, ` : '';
  return `${size}${Math.round(took)} ms`;
}

dockPanel({ id: 'console', title: 'Gremlin', icon: 'console', order: 40, key: 'g', when: () => may('topology', 'read'), component: Console });
