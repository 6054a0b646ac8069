/** Line icons of 24 × 24, as paths: for buttons (`Icon`) and for the picture (`topology/sprites.js`). */

import { html } from './ui.js';

/** @type {Record<string, string>} */
export const PATHS = {
  // What is on the picture.
  host: 'M4 5h16v6H4zM4 13h16v6H4zM7 8h.01M7 16h.01M11 8h6M11 16h6',
  netns: 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5',
  bridge: 'M4 7h16v10H4zM8 17v3M16 17v3M8 7V4M16 7V4M8 11l-2 1 2 1M16 11l2 1-2 1M6 12h12',
  interface: 'M5 4h14v11h-4v4H9v-4H5zM9 8v3M12 8v3M15 8v3',
  veth: 'M3 9h6v6H3zM15 9h6v6h-6zM9 12h6',
  container: 'M3 8l9-4 9 4v8l-9 4-9-4zM8 10.500v5M12 11.500v5M16 10.500v5',
  tunnel: 'M3 17v-3a9 9 0 0 1 18 0v3M7 17v-3a5 5 0 0 1 10 0v3M2 17h20',
  tap: 'M12 3v8M8 7l4-4 4 4M5 13h14v7H5z',
  loopback: 'M6 12a6 6 0 1 1 6 6M12 21l-3-3 3-3',
  vlan: 'M4 4h10v10H4zM10 10h10v10H10z',
  bond: 'M9 8H7a4 4 0 0 0 0 8h2M15 8h2a4 4 0 0 1 0 8h-2M8 12h8',
  fabric: 'M3 8h18v8H3zM6 12h.01M9 12h.01M12 12h6M6 16v3M18 16v3',
  port: 'M7 4h10v16H7zM10 8h4M10 12h4M10 16h4',
  disk: 'M4 6c0-4 16-4 16 0v12c0 4-16 4-16 0zM4 6c0 4 16 4 16 0M4 12c0 4 16 4 16 0',
  pod: 'M12 3l7.500 4.300v8.600L12 20.200l-7.500-4.300V7.300zM9 10h6v5H9z',
  service: 'M12 4v5M12 15v5M4 12h5M15 12h5M9 9h6v6H9z',
  vm: 'M3 5h18v11H3zM8 20h8M12 16v4',
  bundle: 'M7 3h12v12M5 6h11v11M3 9h10v11H3z',
  unknown: 'M12 3a9 9 0 1 0 .01 0zM9.500 9.500a2.500 2.500 0 1 1 3.500 2.300c-.7.300-1 .8-1 1.700M12 16.500h.01',
  // Buttons.
  topology: 'M12 5a2 2 0 1 0 .01 0zM5 15a2 2 0 1 0 .01 0zM19 15a2 2 0 1 0 .01 0zM11 8l-5 7M13 8l5 7M7 17h10',
  flows: 'M3 8h14M13 4l4 4-4 4M21 16H7M11 12l-4 4 4 4',
  capture: 'M4 7h4l2-3h4l2 3h4v12H4zM12 10a3.500 3.500 0 1 0 .01 0z',
  console: 'M4 5h16v14H4zM7 9l3 3-3 3M12 15h5',
  status: 'M3 12h4l3-8 4 16 3-8h4',
  rules: 'M5 4h14v16H5zM8 8h8M8 12h8M8 16h5',
  inject: 'M13 3L5 13h6l-1 8 8-11h-6z',
  search: 'M11 4a7 7 0 1 0 .01 0zM16 16l5 5',
  filter: 'M3 5h18l-7 8v6l-4 2v-8z',
  star: 'M12 3l2.700 5.800 6.300.8-4.600 4.400 1.200 6.300L12 17.200l-5.600 3.100 1.200-6.300L3 9.600l6.300-.8z',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  fit: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  expand: 'M7 10l5 5 5-5M7 4l5 5 5-5',
  collapse: 'M7 14l5-5 5 5M7 20l5-5 5 5',
  layered: 'M9 3h6v4H9zM3 17h6v4H3zM15 17h6v4h-6zM12 7v5M6 17v-5h12v5',
  force: 'M12 10a2 2 0 1 0 .01 0zM4 4a1.500 1.500 0 1 0 .01 0zM20 5a1.500 1.500 0 1 0 .01 0zM5 18a1.500 1.500 0 1 0 .01 0zM19 17a1.500 1.500 0 1 0 .01 0zM5 6l5 5M19 7l-5 4M6 18l4-5M18 18l-4-5',
  pin: 'M9 3h6l-1 6 3 3v2H7v-2l3-3zM12 14v7',
  table: 'M4 5h16v14H4zM4 10h16M4 14.500h16M10 5v14',
  save: 'M12 4v11M7 11l5 5 5-5M4 20h16',
  link: 'M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1',
  help: 'M12 3a9 9 0 1 0 .01 0zM9.500 9.500a2.500 2.500 0 1 1 3.500 2.300c-.7.300-1 .8-1 1.700M12 16.500h.01',
  sun: 'M12 8a4 4 0 1 0 .01 0zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500L19 19M5 19l1.500-1.500M17.500 6.500L19 5',
  moon: 'M20 14a8 8 0 0 1-10-10 8 8 0 1 0 10 10z',
  leave: 'M14 4H5v16h9M10 12h11M17 8l4 4-4 4',
  close: 'M6 6l12 12M18 6L6 18',
  play: 'M7 4l13 8-13 8z',
  pause: 'M8 5v14M16 5v14',
  clock: 'M12 3a9 9 0 1 0 .01 0zM12 7v5l4 2',
  compare: 'M12 3v18M4 7h5v10H4zM15 7h5v10h-5z',
  live: 'M12 9a3 3 0 1 0 .01 0zM6 6a8.500 8.500 0 0 0 0 12M18 6a8.500 8.500 0 0 1 0 12',
  copy: 'M8 8h12v12H8zM16 8V4H4v12h4',
  whole: 'M4 4h16v16H4zM4 14h16',
  links: 'M6 4a2 2 0 1 0 .01 0zM18 16a2 2 0 1 0 .01 0zM7 8c0 6 10 2 10 8',
  warning: 'M12 4l9 16H3zM12 10v4M12 17h.01',
};

/**
 * @param {{name: string, size?: number}} props
 */
export function Icon({ name, size = 18 }) {
  return html`<svg class="icon" viewBox="0 0 24 24" width=${size} height=${size} aria-hidden="true">
    <path d=${PATHS[name] ?? PATHS.unknown} />
  </svg>`;
}
