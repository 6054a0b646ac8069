/** Objects of the API (captures, rules …) as lists that follow what happens to them. */

import { notice } from '../../lib/notice.js';
import { useCallback, useEffect, useState } from '../../lib/ui.js';
import { connection } from '../../server/connection.js';
import { get, send } from '../../server/api.js';
import { useAsked, wordsOf } from './asked.js';

/** Changes that others make are told for some kinds; for the rest, and for what was missed, the list is asked for. */
const POLLED_EVERY = 5000;

/**
 * All objects of a kind, in the order of the server.
 * @template {{UUID: string}} T
 * @param {string} kind as in the path `/api/KIND`
 * @param {string} [namespace] of messages that tell of them
 */
export function useObjects(kind, namespace) {
  const { value, error, again } = useAsked(
    async (signal) => /** @type {T[]} */ (Object.values((await get(`/api/${kind}`, signal)) ?? {})),
    [kind],
    POLLED_EVERY,
  );
  useEffect(() => (namespace ? connection.on(namespace, again) : undefined), [namespace, again]);
  const remove = useCallback(
    async (/** @type {T} */ object) => {
      try {
        await send('DELETE', `/api/${kind}/${object.UUID}`);
        notice('Deleted', 'good');
      } catch (failure) {
        notice(wordsOf(failure), 'bad');
      }
      again();
    },
    [kind, again],
  );
  return { objects: value, error, again, remove };
}

/** @type {Promise<any> | null} */
let described = null;

/**
 * The fields of a kind of object, as the server describes them (`/api/openapi.json`); null until they are known.
 * @param {string} path such as `/api/capture`
 * @returns {Record<string, {type?: string, description?: string, readOnly?: boolean}> | null}
 */
export function useFields(path) {
  const [fields, set] = useState(/** @type {Record<string, any> | null} */ (null));
  useEffect(() => {
    described ??= get('/api/openapi.json').catch(() => (described = null));
    void described?.then((document) => {
      const content = document?.paths[path]?.post?.requestBody?.content['application/json'];
      const name = content?.schema?.$ref?.split('/').at(-1);
      set((name ? document.components.schemas[name].properties : content?.schema?.properties) ?? {});
    });
  }, [path]);
  return fields;
}

/**
 * An error of the server as the field that it is about and the words; field empty when it names none.
 * @param {string} error
 * @param {string[]} fields
 */
export function placed(error, fields) {
  const found = /^(\w+):\s*/.exec(error);
  return found && fields.includes(found[1]) ? { field: found[1], text: error.slice(found[0].length) } : { field: '', text: error };
}
