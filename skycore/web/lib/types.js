/**
 * Shapes that many modules speak of; names of fields are those of the server (docs/rest.md, docs/websocket.md).
 *
 * @typedef {Record<string, any>} Metadata
 * @typedef {{ID: string, Host: string, Origin: string, CreatedAt: number, UpdatedAt: number, DeletedAt: number | null,
 *   Revision: number, Metadata: Metadata}} Node
 * @typedef {Node & {Parent: string, Child: string}} Edge
 * @typedef {{Object: string, Action: string, Allowed: boolean}} Permission
 * @typedef {{User: string, Roles: string[], Permissions: Permission[], History: boolean}} Rights
 * @typedef {{Host: string, Version: string, Service: 'agent' | 'analyzer'}} About
 * @typedef {{Start: number, End: number, Origin: string, Lost: number}} Gap
 */

export {};
