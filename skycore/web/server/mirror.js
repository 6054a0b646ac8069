/** The server's graph as this page knows it. */

/** @typedef {import('../lib/types.js').Node} Node */
/** @typedef {import('../lib/types.js').Edge} Edge */
/** @typedef {{Type: 1 | 2, Key: string, Value?: unknown}} Operation */
/** @typedef {{shape: boolean, touched: Set<string>}} Changes
 *  `shape`: nodes or edges came or went; `touched`: the IDs of all that came, changed or went. */

/** Elements that are told of at most this often a second, however often they change. */
const TOLD_EVERY = 100;

export class Mirror {
  constructor() {
    /** @type {Map<string, Node>} */
    this.nodes = new Map();
    /** @type {Map<string, Edge>} */
    this.edges = new Map();
    /** Edges by either end. @type {Map<string, Set<string>>} */
    this.around = new Map();
    /** @type {Set<(changes: Changes) => void>} */
    this.listeners = new Set();
    /** @type {Changes} */
    this.pending = { shape: false, touched: new Set() };
    this.timer = 0;
    this.toldAt = 0;
  }

  /** @param {string} id @returns {Node | Edge | undefined} */
  get(id) {
    return this.nodes.get(id) ?? this.edges.get(id);
  }

  /** The edges of a node. @param {string} id @returns {Edge[]} */
  edgesOf(id) {
    const found = [];
    for (const edge of this.around.get(id) ?? []) found.push(/** @type {Edge} */ (this.edges.get(edge)));
    return found;
  }

  /**
   * Hear of what changed, some times a second at most, until the function that is returned is called.
   * @param {(changes: Changes) => void} listener
   */
  on(listener) {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /**
   * Take a message of the namespace `Graph`.
   * @param {string} type
   * @param {any} obj
   */
  take(type, obj) {
    switch (type) {
      case 'NodeAdded':
      case 'NodeUpdated':
        this.putNode(obj);
        break;
      case 'EdgeAdded':
      case 'EdgeUpdated':
        this.putEdge(obj);
        break;
      case 'NodeDeleted':
        this.dropNode(obj.ID);
        break;
      case 'EdgeDeleted':
        this.dropEdge(obj.ID);
        break;
      case 'NodePartiallyUpdated': {
        const node = this.nodes.get(obj.ID);
        if (node) this.putNode(patched(node, obj));
        break;
      }
      case 'EdgePartiallyUpdated': {
        const edge = this.edges.get(obj.ID);
        if (edge) this.putEdge(patched(edge, obj));
        break;
      }
    }
  }

  /**
   * This is all there is; what is the same as before is not told of.
   * @param {{Nodes: Node[] | null, Edges: Edge[] | null}} graph
   */
  reset(graph) {
    const nodes = graph.Nodes ?? [];
    const edges = graph.Edges ?? [];
    const there = new Set();
    for (const element of nodes) there.add(element.ID);
    for (const element of edges) there.add(element.ID);
    for (const id of [...this.edges.keys()]) if (!there.has(id)) this.dropEdge(id);
    for (const id of [...this.nodes.keys()]) if (!there.has(id)) this.dropNode(id);
    for (const node of nodes) {
      const known = this.nodes.get(node.ID);
      if (known?.Revision !== node.Revision || known.UpdatedAt !== node.UpdatedAt) this.putNode(node);
    }
    for (const edge of edges) {
      const known = this.edges.get(edge.ID);
      if (known?.Revision !== edge.Revision || known.UpdatedAt !== edge.UpdatedAt) this.putEdge(edge);
    }
    this.tell();
  }

  /** @param {Node} node */
  putNode(node) {
    const before = this.nodes.get(node.ID);
    this.nodes.set(node.ID, node);
    this.note(node.ID, !before || placed(before) !== placed(node));
  }

  /** @param {Edge} edge */
  putEdge(edge) {
    const before = this.edges.get(edge.ID);
    this.edges.set(edge.ID, edge);
    if (!before) {
      for (const end of [edge.Parent, edge.Child]) {
        const around = this.around.get(end);
        if (around) around.add(edge.ID);
        else this.around.set(end, new Set([edge.ID]));
      }
    }
    this.note(edge.ID, !before || before.Metadata.RelationType !== edge.Metadata.RelationType);
  }

  /** @param {string} id */
  dropNode(id) {
    for (const edge of [...(this.around.get(id) ?? [])]) this.dropEdge(edge);
    if (this.nodes.delete(id)) this.note(id, true);
  }

  /** @param {string} id */
  dropEdge(id) {
    const edge = this.edges.get(id);
    if (!edge) return;
    this.edges.delete(id);
    for (const end of [edge.Parent, edge.Child]) {
      const around = this.around.get(end);
      around?.delete(id);
      if (around?.size === 0) this.around.delete(end);
    }
    this.note(id, true);
  }

  /** @param {string} id @param {boolean} shape */
  note(id, shape) {
    this.pending.touched.add(id);
    if (shape) this.pending.shape = true;
    if (!this.timer) {
      const wait = Math.max(0, this.toldAt + TOLD_EVERY - performance.now());
      this.timer = window.setTimeout(() => this.tell(), wait);
    }
  }

  /** Tell at once what is pending. */
  tell() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.toldAt = performance.now();
    const changes = this.pending;
    if (!changes.touched.size) return;
    this.pending = { shape: false, touched: new Set() };
    for (const listener of [...this.listeners]) listener(changes);
  }
}

/** What decides where a node is drawn. @param {Node} node */
const placed = (node) => `${node.Metadata.Type}\0${node.Metadata.Name}`;

/**
 * The element after a partial update; the one before is left as it is.
 * @template {Node} T
 * @param {T} element
 * @param {{UpdatedAt: number, Revision: number, Ops: Operation[] | null}} update
 * @returns {T}
 */
export function patched(element, update) {
  const Metadata = { ...element.Metadata };
  for (const operation of update.Ops ?? []) apply(Metadata, operation.Key.split('.'), operation);
  return { ...element, UpdatedAt: update.UpdatedAt, Revision: update.Revision, Metadata };
}

/** @param {unknown} value @returns {value is Record<string, any>} */
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * @param {Record<string, any>} object already a copy
 * @param {string[]} path
 * @param {Operation} operation
 */
function apply(object, path, operation) {
  const [key, ...rest] = path;
  if (!rest.length) {
    if (operation.Type === 1) define(object, key, operation.Value);
    else delete object[key];
    return;
  }
  const inner = Object.hasOwn(object, key) && isObject(object[key]) ? { ...object[key] } : {};
  apply(inner, rest, operation);
  // A deletion takes objects that become empty by it away, too.
  if (operation.Type === 2 && !Object.keys(inner).length) delete object[key];
  else define(object, key, inner);
}

/** Set a key that may be named like something of every object. @param {Record<string, any>} object @param {string} key @param {unknown} value */
function define(object, key, value) {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}
