/** The frame around everything: navigation, top bar, picture, details, panel, time line. */

import { Icon } from '../lib/icons.js';
import { dismiss, notices } from '../lib/notice.js';
import { useStore } from '../lib/store.js';
import { classes, html } from '../lib/ui.js';
import { dockPanels } from '../panels/registry.js';
import { logout } from '../server/session.js';
import { app } from '../state.js';
import { TimeLine } from '../time/timeline.js';
import { TopologyView } from '../topology/view.js';
import { Dock } from './dock.js';
import { Help } from './help.js';
import { Login } from './login.js';
import { SearchBox } from './search-box.js';
import { Side } from './side.js';

const flipTheme = () => app.set({ theme: app.value.theme === 'dark' ? 'light' : 'dark' });

function Link() {
  const link = useStore(app, (state) => state.link);
  const text = useStore(app, (state) => state.linkText);
  const words = { live: 'Live', connecting: 'Connecting …', lost: 'Connection lost' }[link];
  return html`<span class=${`link-state ${link}`} role="status" title=${text || 'The server tells every change as it happens'}>
    <i class="dot"></i>${words}
  </span>`;
}

function TopBar() {
  const about = useStore(app, (state) => state.about);
  const rights = useStore(app, (state) => state.rights);
  const theme = useStore(app, (state) => state.theme);
  const open = rights?.Roles.length ? `${rights.User} (${rights.Roles.join(', ')})` : rights?.User;
  return html`<header class="topbar">
    <h1><span class="brand">Skycore</span> <span class="dim">${about?.Host} · ${about?.Service}</span></h1>
    <${SearchBox} />
    <${Link} />
    <span class="user dim" title=${open}>${rights?.User}</span>
    <button class="tool" aria-label=${theme === 'dark' ? 'Light colours' : 'Dark colours'} title="Light or dark (D)" onClick=${flipTheme}>
      <${Icon} name=${theme === 'dark' ? 'sun' : 'moon'} />
    </button>
    <button class="tool" aria-label="Keyboard" title="Keyboard (?)" onClick=${() => app.set({ help: true })}><${Icon} name="help" /></button>
    <button class="tool" aria-label="Log out" title="Log out" onClick=${() => void logout()}><${Icon} name="leave" /></button>
  </header>`;
}

function Navigation() {
  const dock = useStore(app, (state) => state.dock);
  useStore(app, (state) => state.rights);
  const offered = dockPanels.filter((panel) => panel.when?.() ?? true);
  const go = (/** @type {string} */ id) => app.set({ dock: id, dockWhole: app.value.dockWhole && id !== '' });
  return html`<nav class="rail" aria-label="Panels">
    <button class=${classes('rail-item', !dock && 'chosen')} aria-current=${dock ? undefined : 'page'} onClick=${() => go('')}>
      <${Icon} name="topology" size=${20} /><span>Topology</span>
    </button>
    ${offered.map(
      (panel) => html`<button
        key=${panel.id}
        class=${classes('rail-item', dock === panel.id && 'chosen')}
        aria-current=${dock === panel.id ? 'page' : undefined}
        title=${panel.key ? `${panel.title} (${panel.key.toUpperCase()})` : panel.title}
        onClick=${() => go(dock === panel.id ? '' : panel.id)}
      >
        <${Icon} name=${panel.icon} size=${20} /><span>${panel.title}</span>
      </button>`,
    )}
  </nav>`;
}

function Notices() {
  const list = useStore(notices, (value) => value.list);
  return html`<div class="notices" role="status" aria-live="polite">
    ${list.map((one) => html`<button key=${one.id} class=${`notice ${one.kind}`} onClick=${() => dismiss(one.id)}>${one.text}</button>`)}
  </div>`;
}

/** Above the picture: what the user must know of it. */
function Banner() {
  const link = useStore(app, (state) => state.link);
  const text = useStore(app, (state) => state.linkText);
  if (link !== 'lost') return null;
  return html`<p class="banner" role="alert">
    <${Icon} name="warning" /> Connection lost: ${text}. This is the last picture; it goes on by itself as soon as the server answers.
  </p>`;
}

export function Frame() {
  const phase = useStore(app, (state) => state.phase);
  const rights = useStore(app, (state) => state.rights);
  const help = useStore(app, (state) => state.help);
  const linkText = useStore(app, (state) => state.linkText);
  if (phase === 'starting') {
    return html`<main class="starting" role="status">${linkText ? `${linkText}; trying again …` : 'Connecting …'}</main>`;
  }
  // A session that ends leaves the picture as it is behind the login.
  if (phase === 'login' && !rights) return html`<${Login} />`;
  return html`<div class="frame" inert=${phase === 'login'}>
      <${TopBar} />
      <${Navigation} />
      <main class="work">
        <${Banner} />
        <div class="upper"><${TopologyView} /><${Side} /></div>
        <${Dock} />
      </main>
      <${TimeLine} />
      ${help && html`<${Help} />`}
    </div>
    ${phase === 'login' && html`<div class="over"><${Login} /></div>`}
    <${Notices} />`;
}
