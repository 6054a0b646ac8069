/**
 * The WebSocket on which the server tells what changes.  A lost one is opened again for ever; the picture stays as it
 * was heard last, and what has changed meanwhile comes with the next state.
 */

import { app, live } from '../state.js';
import { ApiError, get } from './api.js';
import { begin } from './session.js';

const SOONEST = 300;
const LATEST = 5000;
/** Browsers do not show pings, so a server that is silent is noticed by asking. */
const ASKED_EVERY = 4000;
const ANSWERED_WITHIN = 4000;

/** @typedef {{Namespace: string, Type: string, UUID: string, Status: number, Obj: any}} Message */

class Connection {
  constructor() {
    /** @type {WebSocket | null} */
    this.socket = null;
    this.wait = SOONEST;
    this.timer = 0;
    this.filter = '';
    this.asked = '';
    /** @type {Map<string, Set<(message: Message) => void>>} */
    this.listeners = new Map();
  }

  /** Connect, and stay connected while somebody is logged in. */
  start() {
    app.on((now, before) => {
      if (now.phase !== before.phase) this.follow(now.phase === 'in');
    });
    this.follow(app.value.phase === 'in');
    setInterval(() => void this.check(), ASKED_EVERY);
    window.addEventListener('online', () => this.soon(0));
  }

  /** @param {boolean} wanted */
  follow(wanted) {
    if (wanted) this.open();
    else this.close();
  }

  /**
   * Hear of messages in a namespace (`Alert`, `OnDemandCaptureNotification` …) until what is returned is called.
   * @param {string} namespace
   * @param {(message: Message) => void} listener
   */
  on(namespace, listener) {
    const listeners = this.listeners.get(namespace) ?? new Set();
    this.listeners.set(namespace, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * Only what a query gives (`….SubGraph()`); empty: everything.
   * @param {string} query
   */
  show(query) {
    this.filter = query;
    if (this.socket?.readyState === WebSocket.OPEN) this.sync();
  }

  open() {
    clearTimeout(this.timer);
    if (this.socket) return;
    const where = location.origin.replace(/^http/, 'ws');
    const socket = new WebSocket(`${where}/ws/subscriber?x-client-type=webui&x-update-policy=partial`);
    this.socket = socket;
    socket.onopen = () => this.sync();
    socket.onmessage = (event) => this.hear(JSON.parse(event.data));
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.lost(event.reason || 'the server does not answer');
    };
  }

  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  sync() {
    this.asked = crypto.randomUUID?.() ?? String(Math.random());
    const Obj = { GremlinFilter: this.filter };
    this.socket?.send(JSON.stringify({ Namespace: 'Graph', Type: 'SyncRequest', UUID: this.asked, Obj }));
  }

  /** @param {Message} message */
  hear(message) {
    if (message.Namespace !== 'Graph') {
      for (const listener of this.listeners.get(message.Namespace) ?? []) listener(message);
      return;
    }
    if (message.Type !== 'SyncReply') {
      live.take(message.Type, message.Obj);
    } else if (message.UUID === this.asked) {
      if (message.Status === 200) live.reset(message.Obj);
      app.set({ link: 'live', linkText: '', filterError: message.Status === 200 ? '' : String(message.Obj) });
      this.wait = SOONEST;
    }
  }

  /** @param {string} why */
  lost(why) {
    app.set({ link: 'lost', linkText: why });
    this.soon(this.wait);
    this.wait = Math.min(LATEST, this.wait * 1.6);
  }

  /** @param {number} wait */
  soon(wait) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.again(), wait);
  }

  /** A handshake that is refused does not say why to a page, so ask for who we are first. */
  async again() {
    if (app.value.phase !== 'in' || this.socket) return;
    try {
      await begin();
      this.open();
    } catch (error) {
      this.lost(error instanceof ApiError ? error.message : String(error));
    }
  }

  async check() {
    if (app.value.phase !== 'in' || app.value.link !== 'live') return;
    try {
      const about = await get('/api', AbortSignal.timeout(ANSWERED_WITHIN));
      if (about.Version !== app.value.about?.Version) app.set({ about });
    } catch (error) {
      if (error instanceof ApiError && error.status) return;
      this.close();
      this.lost('the server does not answer');
    }
  }
}

export const connection = new Connection();
