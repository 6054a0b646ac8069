/**
 * The time line: how much changed when, where history is incomplete, what is shown.  A click goes there, a drag compares
 * two moments, the wheel zooms; by keyboard it is a slider.
 */

import { dateTime, duration, readMoment, timeOfDay } from '../lib/format.js';
import { Icon } from '../lib/icons.js';
import { notice } from '../lib/notice.js';
import { useStore } from '../lib/store.js';
import { classes, html, useEffect, useRef, useState } from '../lib/ui.js';
import { get } from '../server/api.js';
import { app } from '../state.js';
import { colours } from '../topology/colours.js';
import { DifferenceList } from './difference.js';
import { compare, goTo, play, shownTime, SPEEDS, step, toLive, travel } from './moment.js';
import { paintLine } from './paint-line.js';

const PARTS = 240;
const SPANS = [6e5, 36e5, 6 * 36e5, 864e5, 7 * 864e5, 30 * 864e5];
const AGAIN = 5000;
const DRAG = 5;

/** @typedef {{Start: number, End: number, Changes: number[], Gaps: import('../lib/types.js').Gap[]}} Density */

/** The counts of what is on the line, asked for again while time goes on. @param {number} span @param {number | null} end null: now */
function useDensity(span, end) {
  const [density, set] = useState(/** @type {Density | null} */ (null));
  const link = useStore(app, (state) => state.link);
  useEffect(() => {
    let over = false;
    const load = async () => {
      if (document.hidden) return;
      // Whole parts, so that bars do not dance.
      const part = span / PARTS;
      const last = end === null ? Math.ceil(Date.now() / part) * part : end;
      try {
        const found = await get(`/api/history/density?start=${Math.round(last - span)}&end=${Math.round(last)}&parts=${PARTS}`);
        if (!over) set(found);
      } catch {
        // The last counts stay; the connection's state is told elsewhere.
      }
    };
    void load();
    const timer = setInterval(() => void load(), end === null ? AGAIN : 12 * AGAIN);
    return () => {
      over = true;
      clearInterval(timer);
    };
  }, [span, end, link === 'live']);
  return density;
}

export function TimeLine() {
  const rights = useStore(app, (state) => state.rights);
  return rights?.History ? html`<${Line} />` : html`<footer class="timeline none"></footer>`;
}

function Line() {
  const moment = useStore(app, (state) => state.moment);
  const gaps = useStore(app, (state) => state.gaps);
  const theme = useStore(app, (state) => state.theme);
  const { playing, speed, loading, difference } = useStore(travel, (value) => value);
  const [span, zoom] = useState(SPANS[1]);
  const [end, look] = useState(/** @type {number | null} */ (null));
  const [drag, pull] = useState(/** @type {[number, number] | null} */ (null));
  const [listed, list] = useState(false);
  const density = useDensity(span, end);
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const last = end ?? density?.End ?? Date.now();
  const start = last - span;

  useEffect(() => {
    const draw = () => canvas.current && paintLine(canvas.current, { start, end: last, density, moment, drag, colours });
    // The theme's colours are read by the topology first.
    const frame = requestAnimationFrame(draw);
    const watch = new ResizeObserver(draw);
    if (canvas.current) watch.observe(canvas.current);
    return () => {
      cancelAnimationFrame(frame);
      watch.disconnect();
    };
  }, [start, last, density, moment, drag, theme]);

  // What is shown stays on the line.
  useEffect(() => {
    if (moment.mode === 'live') return look(null);
    const at = moment.at;
    if (at > last || at < start) look(Math.min(Date.now(), at + span / 2));
  }, [moment]);

  const timeAt = (/** @type {PointerEvent | WheelEvent} */ event) => {
    const box = /** @type {HTMLElement} */ (event.currentTarget).getBoundingClientRect();
    return start + ((event.clientX - box.left) / box.width) * span;
  };
  const begin = (/** @type {PointerEvent} */ event) => {
    const edge = /** @type {HTMLElement} */ (event.currentTarget);
    const from = event.clientX;
    const at = timeAt(event);
    edge.setPointerCapture(event.pointerId);
    edge.onpointermove = (move) => pull(Math.abs(move.clientX - from) > DRAG ? [at, timeAt(move)] : null);
    edge.onpointerup = (up) => {
      edge.onpointermove = edge.onpointerup = null;
      pull(null);
      if (Math.abs(up.clientX - from) > DRAG) compare(at, timeAt(up));
      else goTo(at);
    };
  };
  const wheel = (/** @type {WheelEvent} */ event) => {
    event.preventDefault();
    const place = SPANS.indexOf(span) + Math.sign(event.deltaY);
    if (place < 0 || place >= SPANS.length) return;
    const at = timeAt(event);
    const share = (at - start) / span;
    zoom(SPANS[place]);
    look(end === null && share > 0.6 ? null : Math.min(Date.now(), at + SPANS[place] * (1 - share)));
  };
  const key = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowLeft: -span / 60, ArrowRight: span / 60, PageDown: -span / 6, PageUp: span / 6 }[event.key];
    if (event.key === 'End') toLive();
    else if (by !== undefined) step(by);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const jump = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const [first, second] = String(new FormData(form).get('moment')).split(/\s+(?:to|\.\.)\s+/);
    const times = [first, second].filter(Boolean).map((text) => readMoment(text, Date.now()));
    if (times.length === 0 || times.includes(null)) return notice('Not a time: try -10m, 14:05, 2026-11-23 14:05, or -1h to -10m', 'bad');
    if (times.length === 2) compare(/** @type {number} */ (times[0]), /** @type {number} */ (times[1]));
    else goTo(/** @type {number} */ (times[0]));
    form.reset();
  };
  const shown = shownTime();
  const words =
    moment.mode === 'live'
      ? 'Live'
      : moment.mode === 'past'
        ? `${dateTime(moment.at)}, ${duration(Date.now() - moment.at)} ago`
        : `${dateTime(moment.from)} → ${timeOfDay(moment.at)}`;
  const tool = (/** @type {string} */ icon, /** @type {string} */ label, /** @type {() => void} */ run, /** @type {boolean | undefined} */ pressed = undefined) =>
    html`<button class="tool" aria-label=${label} title=${label} aria-pressed=${pressed} onClick=${run}><${Icon} name=${icon} /></button>`;
  return html`<footer class=${classes('timeline', moment.mode !== 'live' && 'away')} aria-label="Time">
    <div class="time-tools">
      <button class=${classes('button', 'live-button', moment.mode === 'live' && 'chosen')} aria-pressed=${moment.mode === 'live'} title="Back to live (L)" onClick=${toLive}>
        <${Icon} name="live" size=${15} /> Live
      </button>
      ${tool(playing ? 'pause' : 'play', playing ? 'Stop (K)' : 'Play from here (K)', play, playing)}
      <select aria-label="Speed" value=${String(speed)} onChange=${(/** @type {any} */ event) => travel.set({ speed: Number(event.target.value) })}>
        ${SPEEDS.map((times) => html`<option value=${String(times)}>${times}×</option>`)}
      </select>
      <form onSubmit=${jump}><input class="input moment" name="moment" aria-label="Go to a time" placeholder="-10m, 14:05, -1h to -10m" autocomplete="off" /></form>
      <select aria-label="Length of the time line" value=${String(span)} onChange=${(/** @type {any} */ event) => zoom(Number(event.target.value))}>
        ${SPANS.map((length) => html`<option value=${String(length)}>${duration(length)}</option>`)}
      </select>
    </div>
    <div
      class="line"
      role="slider"
      tabindex="0"
      aria-label="Moment that is shown"
      aria-valuemin=${Math.round(start)}
      aria-valuemax=${Math.round(last)}
      aria-valuenow=${Math.round(shown)}
      aria-valuetext=${words}
      onPointerDown=${begin}
      onWheel=${wheel}
      onKeyDown=${key}
    >
      <canvas ref=${canvas} aria-hidden="true"></canvas>
    </div>
    <div class="time-words" role="status">
      <span class=${classes('moment-words', loading && 'loading')}>${words}</span>
      ${gaps.length > 0 && html`<span class="chip warn" title=${gaps.map((gap) => `${gap.Origin}: ${dateTime(gap.Start)} – ${dateTime(gap.End)}, ${gap.Lost || 'unknown many'} lost`).join('\n')}>history is incomplete here</span>`}
      ${difference && html`<button class="button small" aria-expanded=${listed} onClick=${() => list(!listed)}>
        <span class="good">+${difference.Appeared.Nodes.length}</span> <span class="bad">−${difference.Vanished.Nodes.length}</span>
        <span class="warn">~${difference.Changed.Nodes.length}</span> nodes
      </button>`}
    </div>
    ${difference && listed && html`<${DifferenceList} difference=${difference} close=${() => list(false)} />`}
  </footer>`;
}
