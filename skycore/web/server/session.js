/** Who the user is, and how they come and go. */

import { app } from '../state.js';
import { ApiError, ask, get } from './api.js';

/** Find out who serves and who asks: the login page when that needs a password.  Throws ApiError otherwise. */
export async function begin() {
  try {
    const [about, rights] = await Promise.all([get('/api'), get('/api/session')]);
    app.set({ about, rights, phase: 'in', expired: false });
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
    app.set({ phase: 'login' });
  }
}

/**
 * @param {string} username
 * @param {string} password
 */
export async function login(username, password) {
  await ask('/login', { method: 'POST', body: new URLSearchParams({ username, password }) });
  await begin();
}

export async function logout() {
  await ask('/logout', { method: 'POST' });
  app.set({ phase: 'login', expired: false, rights: null });
}
