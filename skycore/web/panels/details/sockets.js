/** The sockets of a host, a namespace or a container's namespace. */

import { html } from '../../lib/ui.js';
import { Grid } from '../parts/grid.js';
import { detailPanel } from '../registry.js';

/** @typedef {import('../../lib/types.js').Node} Node */
/** @typedef {{Process: string, Pid: number, Name: string, LocalAddress: string, LocalPort: number, RemoteAddress: string, RemotePort: number, Protocol: string, State: string}} Socket */

/** @param {string} address @param {number} port */
const end = (address, port) => (port ? `${address.includes(':') ? `[${address}]` : address}:${port}` : '');

/** @param {{element: Node}} props */
function Sockets({ element }) {
  const omitted = element.Metadata.SocketsOmitted;
  return html`<div class="stack">
    <${Grid}
      name="sockets"
      label="Sockets"
      rows=${element.Metadata.Sockets}
      keyOf=${(/** @type {Socket} */ row) => `${row.Protocol} ${row.LocalAddress} ${row.LocalPort} ${row.RemoteAddress} ${row.RemotePort} ${row.Pid}`}
      columns=${[
        { id: 'Name', title: 'Process', value: (/** @type {Socket} */ row) => row.Name },
        { id: 'Protocol', title: 'Over', value: (/** @type {Socket} */ row) => row.Protocol },
        { id: 'Local', title: 'Here', value: (/** @type {Socket} */ row) => end(row.LocalAddress, row.LocalPort) },
        { id: 'Remote', title: 'There', value: (/** @type {Socket} */ row) => end(row.RemoteAddress, row.RemotePort) },
        { id: 'State', title: 'State', value: (/** @type {Socket} */ row) => row.State },
        { id: 'Pid', title: 'PID', numeric: true, rare: true, value: (/** @type {Socket} */ row) => row.Pid },
        { id: 'Path', title: 'Program', rare: true, value: (/** @type {Socket} */ row) => row.Process },
      ]}
    />
    ${omitted ? html`<p class="dim">${omitted} more are left out.</p>` : null}
  </div>`;
}

detailPanel({
  id: 'sockets',
  title: 'Sockets',
  order: 43,
  when: (element) => Array.isArray(element.Metadata.Sockets) && element.Metadata.Sockets.length > 0,
  component: Sockets,
});
