/** The login page. */

import { useStore } from '../lib/store.js';
import { html, useState } from '../lib/ui.js';
import { ApiError } from '../server/api.js';
import { login } from '../server/session.js';
import { app } from '../state.js';

export function Login() {
  const expired = useStore(app, (state) => state.expired);
  const [error, say] = useState('');
  const [busy, wait] = useState(false);
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    wait(true);
    say('');
    try {
      await login(String(form.get('username')), String(form.get('password')));
    } catch (failure) {
      say(failure instanceof ApiError ? failure.message : String(failure));
    } finally {
      wait(false);
    }
  };
  return html`<main class="login">
    <form onSubmit=${submit} aria-label="Log in">
      <h1>Skycore</h1>
      ${expired && html`<p role="status">Your session has ended. Log in to go on where you were.</p>`}
      <label class="field"><span>User</span><input class="input" name="username" autocomplete="username" required autofocus /></label>
      <label class="field"><span>Password</span><input class="input" name="password" type="password" autocomplete="current-password" /></label>
      ${error && html`<p class="error" role="alert">${error}</p>`}
      <button class="button primary" type="submit" disabled=${busy}>${busy ? 'Logging in …' : 'Log in'}</button>
    </form>
  </main>`;
}
