// Signing in and making an account.

import { client, html, useEffect, useForm, useState } from "./ui.js";
import { t } from "./text.js";
import { ErrorNote, Field } from "./parts.js";
import { leaveFor } from "./login.js";

const UNKNOWN = { password: true, registration: false, guests: false, issuers: [] };

export function Entry({ notice }) {
  const [isNew, setNew] = useState(false);
  const [methods, setMethods] = useState(UNKNOWN);
  const [failure, setFailure] = useState(null);
  useEffect(() => {
    client.signInMethods().then(setMethods, () => {}); // without a server nobody can sign in
  }, []);
  const { busy, error, onSubmit } = useForm(async ({ username, password, nickname }) => {
    setFailure(null);
    if (isNew) await client.register({ username, password, nickname });
    else await client.signIn(username, password);
  });
  const attempt = (act) => () => {
    setFailure(null);
    act().catch(setFailure);
  };
  const title = t(isNew ? "createAccount" : "signIn");
  return html`<main class="entry">
    <form onSubmit=${onSubmit} aria-label=${title}>
      <img src="/icon.svg" alt="" width="72" height="72" />
      <h1>GoChat</h1>
      <p class="quiet">${t("tagline")}</p>
      ${notice && !error && !failure && html`<p class="notice" role="status">${notice}</p>`}
      ${methods.password && html`<${Credentials} isNew=${isNew} />`}
      <${ErrorNote} error=${error ?? failure} />
      ${methods.password && html`<button class="primary" disabled=${busy}>${busy ? t("connecting") : title}</button>`}
      ${methods.issuers.map(({ name, label }) => html`<button key=${name} type="button"
        class=${methods.password ? "secondary" : "primary"} onClick=${attempt(() => leaveFor(name))}>
        ${t("signInWith", { name: label })}
      </button>`)}
      ${methods.guests && html`<button type="button" class="secondary" onClick=${attempt(() => client.signInAsGuest())}>
        ${t("asGuest")}
      </button>`}
      ${methods.registration && html`<button type="button" class="link" onClick=${() => setNew(!isNew)}>
        ${t(isNew ? "haveAccount" : "createAccount")}
      </button>`}
    </form>
  </main>`;
}

function Credentials({ isNew }) {
  return html`<${Field} label=${t("username")} name="username" required autocomplete="username" autocapitalize="none"
      spellcheck=${false} autofocus />
    ${isNew && html`<${Field} label=${t("displayName")} name="nickname" maxlength="64" autocomplete="name" />`}
    <${Field} label=${t("password")} name="password" type="password" required minlength=${isNew ? 8 : 1}
      autocomplete=${isNew ? "new-password" : "current-password"} hint=${isNew && t("passwordHint")} />`;
}
