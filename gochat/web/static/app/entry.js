// Signing in and making an account.

import { client, html, useEffect, useForm, useState } from "./ui.js";
import { t } from "./text.js";
import { ErrorNote, Field } from "./parts.js";

export function Entry({ notice }) {
  const [isNew, setNew] = useState(false);
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    const read = async () => setOpen((await (await fetch("/settings.json")).json()).registration === "open");
    read().catch(() => {}); // without a server nobody can register
  }, []);
  const { busy, error, onSubmit } = useForm(async ({ username, password, nickname }) => {
    if (isNew) await client.register({ username, password, nickname });
    else await client.signIn(username, password);
  });
  const title = t(isNew ? "createAccount" : "signIn");
  return html`<main class="entry">
    <form onSubmit=${onSubmit} aria-label=${title}>
      <img src="/icon.svg" alt="" width="72" height="72" />
      <h1>GoChat</h1>
      <p class="quiet">${t("tagline")}</p>
      ${notice && !error && html`<p class="notice" role="status">${notice}</p>`}
      <${Field} label=${t("username")} name="username" required autocomplete="username" autocapitalize="none"
        spellcheck=${false} autofocus />
      ${isNew && html`<${Field} label=${t("displayName")} name="nickname" maxlength="64" autocomplete="name" />`}
      <${Field} label=${t("password")} name="password" type="password" required minlength=${isNew ? 8 : 1}
        autocomplete=${isNew ? "new-password" : "current-password"} hint=${isNew && t("passwordHint")} />
      <${ErrorNote} error=${error} />
      <button class="primary" disabled=${busy}>${busy ? t("connecting") : title}</button>
      ${isOpen && html`<button type="button" class="link" onClick=${() => setNew(!isNew)}>
        ${t(isNew ? "haveAccount" : "createAccount")}
      </button>`}
    </form>
  </main>`;
}
