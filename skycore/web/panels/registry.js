/**
 * The contract of panels.  A module in `panels/` registers what it shows and is named in `panels/all.js`; nothing else
 * has to know of it.
 */

/** @typedef {import('../lib/types.js').Node} Node */
/** @typedef {import('../lib/types.js').Edge} Edge */
/** @typedef {import('../state.js').Moment} Moment */

/**
 * Below the picture, opened from the navigation on the left.
 * @typedef {object} DockPanel
 * @property {string} id a word for the address bar
 * @property {string} title
 * @property {string} icon a name from `lib/icons.js`
 * @property {number} order
 * @property {string} [key] a letter that opens it
 * @property {() => boolean} [when] whether it is offered: ask `may(…)`; what the server does not announce is not shown
 * @property {(props: object) => any} component
 */
/**
 * A section of the details of what is selected.
 * @typedef {object} DetailPanel
 * @property {string} id
 * @property {string} title
 * @property {number} order
 * @property {(element: Node | Edge, moment: Moment) => boolean} when
 * @property {boolean} [open] whether it is open at first
 * @property {(props: {element: Node | Edge, moment: Moment}) => any} component
 */

/** @type {DockPanel[]} */
export const dockPanels = [];
/** @type {DetailPanel[]} */
export const detailPanels = [];

/** @param {DockPanel} panel */
export function dockPanel(panel) {
  dockPanels.push(panel);
  dockPanels.sort((one, other) => one.order - other.order);
}

/** @param {DetailPanel} panel */
export function detailPanel(panel) {
  detailPanels.push(panel);
  detailPanels.sort((one, other) => one.order - other.order);
}
