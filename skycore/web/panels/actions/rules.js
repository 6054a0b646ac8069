/** What users add to the graph: node rules, edge rules, user metadata. */

import { Icon } from '../../lib/icons.js';
import { html, useState } from '../../lib/ui.js';
import { send } from '../../server/api.js';
import { may } from '../../state.js';
import { Choosing } from '../parts/choosing.js';
import { Choice, Field, Tabs, useSending } from '../parts/form.js';
import { Grid } from '../parts/grid.js';
import { placed, useObjects } from '../parts/objects.js';
import { dockPanel } from '../registry.js';
import { fromLines, lines } from './pairs.js';

/** @typedef {{UUID: string} & Record<string, any>} Rule */
/** @typedef {{set: (field: string) => (value: string) => void, form: Record<string, string>, errorOf: (field: string) => string}} FormProps */
/**
 * @typedef {object} Kind
 * @property {string} id as in the path `/api/KIND`
 * @property {string} title
 * @property {string} one
 * @property {string} about
 * @property {[string, string, boolean?][]} columns field, title, whether it is code
 * @property {Record<string, string>} begin
 * @property {(form: Record<string, string>) => Record<string, unknown>} body
 * @property {(props: FormProps) => any} form
 */

const METADATA_HINT = 'a line for each key: Rack: r12';

/** @type {Kind[]} */
const KINDS = [
  {
    id: 'noderule',
    title: 'Node rules',
    one: 'node rule',
    about: 'Make a node that nobody can find, or give metadata to all nodes of a query, now and later.',
    columns: [['Name', 'Name'], ['Action', 'Does'], ['Query', 'To', true], ['Metadata', 'Metadata', true], ['Description', 'Description']],
    begin: { Action: 'update', Name: '', Description: '', Query: '', Metadata: '' },
    body: ({ Metadata, Action, Query, ...others }) => ({ ...others, Action, Metadata: fromLines(Metadata), ...(Action === 'update' && { Query }) }),
    form: ({ set, form, errorOf }) => html`<div class="fields">
        <${Choice} label="Does" value=${form.Action} set=${set('Action')} options=${[['update', 'give metadata to nodes'], ['create', 'make a node']]} />
        <${Field} label="Name of the rule" value=${form.Name} set=${set('Name')} />
        <${Field} label="Description" value=${form.Description} set=${set('Description')} />
      </div>
      ${form.Action === 'update' && html`<${Choosing} label="Nodes (Gremlin)" query=${form.Query} set=${set('Query')} mark="rule" error=${errorOf('Query')} />`}
      <${Field} label="Metadata" rows=${3} value=${form.Metadata} set=${set('Metadata')} hint=${form.Action === 'create' ? `${METADATA_HINT}; Name and Type are needed` : METADATA_HINT} error=${errorOf('Metadata')} />`,
  },
  {
    id: 'edgerule',
    title: 'Edge rules',
    one: 'edge rule',
    about: 'Join the first node of one query with the first of another, as long as both are there.',
    columns: [['Name', 'Name'], ['Src', 'From', true], ['Dst', 'To', true], ['Metadata', 'Metadata', true], ['Description', 'Description']],
    begin: { Name: '', Description: '', Src: '', Dst: '', RelationType: 'layer2', Metadata: '' },
    body: ({ RelationType, Metadata, ...others }) => ({ ...others, Metadata: { ...fromLines(Metadata), RelationType } }),
    form: ({ set, form, errorOf }) => html`<div class="halves">
        <${Choosing} label="From (Gremlin)" query=${form.Src} set=${set('Src')} mark="rule-from" error=${errorOf('Src')} />
        <${Choosing} label="To (Gremlin)" query=${form.Dst} set=${set('Dst')} mark="rule-to" error=${errorOf('Dst')} />
      </div>
      <div class="fields">
        <${Field} label="Relation" value=${form.RelationType} set=${set('RelationType')} list=${['layer2', 'ownership']} error=${errorOf('Metadata')} />
        <${Field} label="Name of the rule" value=${form.Name} set=${set('Name')} />
        <${Field} label="Description" value=${form.Description} set=${set('Description')} />
        <${Field} label="More metadata" rows=${2} value=${form.Metadata} set=${set('Metadata')} hint=${METADATA_HINT} />
      </div>`,
  },
  {
    id: 'usermetadata',
    title: 'User metadata',
    one: 'user metadata',
    about: 'A value under UserMetadata of all nodes of a query.',
    columns: [['Key', 'Key'], ['Value', 'Value'], ['GremlinQuery', 'Of', true]],
    begin: { GremlinQuery: '', Key: '', Value: '' },
    body: (form) => form,
    form: ({ set, form, errorOf }) => html`<${Choosing} label="Nodes (Gremlin)" query=${form.GremlinQuery} set=${set('GremlinQuery')} mark="rule" error=${errorOf('GremlinQuery')} />
      <div class="fields">
        <${Field} label="Key" value=${form.Key} set=${set('Key')} error=${errorOf('Key')} />
        <${Field} label="Value" value=${form.Value} set=${set('Value')} error=${errorOf('Value')} />
      </div>`,
  },
];

const readable = () => KINDS.filter(({ id }) => may(id, 'read'));

function Rules() {
  const [chosen, choose] = useState('');
  const kinds = readable();
  const kind = kinds.find(({ id }) => id === chosen) ?? kinds[0];
  if (!kind) return null;
  return html`<div class="panel">
    <${Tabs} label="Kinds of rules" value=${kind.id} set=${choose} options=${kinds.map(({ id, title }) => [id, title])} />
    <${List} key=${kind.id} kind=${kind} />
  </div>`;
}

/** @param {{kind: Kind}} props */
function List({ kind }) {
  const { objects, error, again, remove } = useObjects(kind.id);
  const [making, make] = useState(false);
  const writable = may(kind.id, 'write');
  const rules = /** @type {Rule[]} */ (objects ?? []);
  const text = (/** @type {Rule} */ rule, /** @type {string} */ field) => (field === 'Metadata' ? lines(rule.Metadata).replaceAll('\n', ', ') : (rule[field] ?? ''));
  const columns = kind.columns.map(([id, title, code]) => ({
    id,
    title,
    value: (/** @type {Rule} */ rule) => text(rule, id),
    show: (/** @type {Rule} */ rule) => (code ? html`<code>${text(rule, id)}</code>` : text(rule, id)),
  }));
  const ends = {
    id: 'Delete',
    title: '',
    value: () => '',
    show: (/** @type {Rule} */ rule) => html`<button type="button" class="button small danger" aria-label=${`Delete ${rule.Name || rule.Key || rule.UUID}`} onClick=${() => remove(rule)}>Delete</button>`,
  };
  return html`<div class="stack">
    <p class="dim">${kind.about}</p>
    ${making && html`<${Making} kind=${kind} close=${() => make(false)} done=${() => (make(false), again())} />`}
    ${error && html`<p class="error">${error}</p>`}
    <${Grid}
      name=${kind.id}
      label=${kind.title}
      rows=${rules}
      keyOf=${(/** @type {Rule} */ rule) => rule.UUID}
      empty=${objects ? `No ${kind.title.toLowerCase()}` : 'Asking …'}
      columns=${writable ? [...columns, ends] : columns}
      more=${writable && !making ? html`<button type="button" class="button small primary" onClick=${() => make(true)}><${Icon} name="plus" size=${14} /> New ${kind.one}</button>` : null}
    />
  </div>`;
}

/** @param {{kind: Kind, close: () => void, done: () => void}} props */
function Making({ kind, close, done }) {
  const [form, change] = useState(kind.begin);
  const set = (/** @type {string} */ field) => (/** @type {string} */ value) => change((before) => ({ ...before, [field]: value }));
  const sending = useSending(async () => {
    await send('POST', `/api/${kind.id}`, kind.body(form));
    done();
  });
  const wrong = placed(sending.error, Object.keys(kind.begin));
  return html`<form class="form" aria-label=${`New ${kind.one}`} onSubmit=${sending.send}>
    <${kind.form} set=${set} form=${form} errorOf=${(/** @type {string} */ field) => (wrong.field === field ? wrong.text : '')} />
    ${sending.error && !wrong.field && html`<pre class="error" role="alert">${wrong.text}</pre>`}
    <div class="row">
      <button type="submit" class="button primary" disabled=${sending.busy}>Make it</button>
      <button type="button" class="button" onClick=${close}>Close</button>
    </div>
  </form>`;
}

dockPanel({ id: 'rules', title: 'Rules', icon: 'rules', order: 30, key: 'u', when: () => readable().length > 0, component: Rules });
