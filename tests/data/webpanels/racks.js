/** The panels of the plugin in docs/webui-panels.md: what is in a rack. */

/** @param {import('../../../skycore/web/panels/plugins.js').Contract} skycore */
export default function panels(skycore) {
  const { html, hooks, parts, page, server } = skycore;
  skycore.icon('rack', 'M5 3h14v18H5zM5 8h14M5 13h14M5 18h14M8 5.500h.01M8 10.500h.01M8 15.500h.01');
  skycore.drawKind({ icon: 'rack', rank: 0, hue: 'violet' }, 'rack');

  const racksOf = async (/** @type {AbortSignal} */ signal) => (await server.gremlin("G.V().Has('Type', 'rack')", signal)).result ?? [];

  function Racks() {
    const { value, error } = hooks.useAsked(racksOf, [], 2000);
    if (error) return html`<p class="error">${error}</p>`;
    return html`<div class="panel">
      <${parts.Grid}
        name="racks"
        label="Racks"
        rows=${value ?? []}
        keyOf=${(/** @type {any} */ rack) => rack.ID}
        onRow=${(/** @type {any} */ rack) => page.select([rack.ID])}
        columns=${[
          { id: 'Name', title: 'Rack', value: (/** @type {any} */ rack) => rack.Metadata.Name },
          { id: 'Row', title: 'Row', value: (/** @type {any} */ rack) => rack.Metadata.Row },
        ]}
      />
    </div>`;
  }

  skycore.dockPanel({ id: 'racks', title: 'Racks', icon: 'rack', order: 60, key: 'j', component: Racks });
  skycore.detailPanel({
    id: 'rack',
    title: 'Rack',
    order: 5,
    open: true,
    when: (element) => element.Metadata.Type === 'rack',
    component: ({ element }) => html`<p>Row ${element.Metadata.Row} of the hall</p>`,
  });
}
