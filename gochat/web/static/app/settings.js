// One's own account: profile, sessions, password; and how the page looks.

import { client, emptied, html, useEffect, useForm, useState, useUpdates } from "./ui.js";
import { LANGUAGE_NAMES, currentLanguage, dateTime, setLanguage, t } from "./text.js";
import { Choice, Dialog, ErrorNote, Field } from "./parts.js";

export function Settings({ onclose }) {
  const [isGuest, setGuest] = useState(client.isGuest);
  return html`<${Dialog} title=${t("settings")} onclose=${onclose}>
    <${Profile} />
    <${Appearance} />
    <${Notifications} />
    <${Sessions} />
    ${isGuest ? html`<${Claim} ondone=${() => setGuest(false)} />` : html`<${Password} />`}
    <p><button type="button" class="danger" onClick=${() => client.signOut()}>${t("signOut")}</button></p>
  <//>`;
}

/** Loaded when it is looked at: the first look at the page has to do without. */
function Notifications() {
  const [parts, setParts] = useState(null);
  useEffect(() => {
    import("./push.js").then(setParts, () => {});
  }, []);
  return parts && html`<${parts.Notifications} />`;
}

function Profile() {
  const [isSaved, setSaved] = useState(false);
  useUpdates("profile");
  const { username = "", nickname = "", bio = "" } = client.profile ?? {};
  const { busy, error, onSubmit } = useForm(async (values) => {
    const name = values.nickname.trim() || username; // a name cannot be emptied, and without one this is shown
    await client.updateProfile({ nickname: name, bio: emptied(values.bio, bio) });
    setSaved(true);
  });
  return html`<section>
    <h3>${t("profile")} <span class="count" dir="auto">@${username}</span></h3>
    <form onSubmit=${onSubmit} onInput=${() => setSaved(false)} aria-label=${t("profile")}>
      <${Field} label=${t("nickname")} name="nickname" maxlength="64" defaultValue=${nickname} dir="auto" />
      <${Field} label=${t("bio")} name="bio" maxlength="1000" multiline defaultValue=${bio.trim()} dir="auto" />
      <${ErrorNote} error=${error} />
      <button class="secondary" disabled=${busy}>${t("save")}</button>
      <span class="quiet" role="status">${isSaved ? ` ${t("saved")}` : ""}</span>
    </form>
  </section>`;
}

function Appearance() {
  const [theme, setTheme] = useState(localStorage.getItem("theme") ?? "");
  const choose = ({ target: { value } }) => {
    setTheme(value);
    if (value) localStorage.setItem("theme", value);
    else localStorage.removeItem("theme");
    document.documentElement.dataset.theme = value;
  };
  const themes = { "": t("themeAuto"), light: t("themeLight"), dark: t("themeDark") };
  return html`<section>
    <h3>${t("appearance")}</h3>
    <div class="pair">
      <${Choice} label=${t("theme")} options=${themes} value=${theme} onChange=${choose} />
      <${Choice} label=${t("language")} options=${LANGUAGE_NAMES} value=${currentLanguage()}
        onChange=${({ target }) => setLanguage(target.value)} />
    </div>
  </section>`;
}

function Sessions() {
  const [sessions, setSessions] = useState([]);
  const [error, setError] = useState(null);
  const load = () => client.sessions().then(setSessions, setError);
  useEffect(() => {
    load();
    return client.on("event", ({ type }) => type === "sessionEnded" && load());
  }, []);
  const revoke = (sessionId) => client.revokeSession(sessionId).then(load, setError);
  return html`<section>
    <h3>${t("sessions")}</h3>
    <${ErrorNote} error=${error} />
    <ul role="list" class="people" aria-label=${t("sessions")}>
      ${sessions.map(({ sessionId, createdAt, refreshedAt, current }) => html`<li key=${sessionId}>
        <div class="person">
          <span class="names">
            <strong>${t(current ? "thisDevice" : "otherDevice")}</strong>
            <small class="wrapped">${t("sessionTimes", { from: dateTime(createdAt), used: dateTime(refreshedAt || createdAt) })}</small>
          </span>
          ${!current && html`<button type="button" class="secondary" onClick=${() => revoke(sessionId)}>${t("revoke")}</button>`}
        </div>
      </li>`)}
    </ul>
  </section>`;
}

/** A guest has nothing to sign in with yet. */
function Claim({ ondone }) {
  const { busy, error, onSubmit } = useForm(async ({ username, password }) => {
    await client.claimAccount({ username, password });
    ondone();
  });
  return html`<section>
    <h3>${t("keepAccount")}</h3>
    <p class="quiet">${t("keepAccountHint")}</p>
    <form onSubmit=${onSubmit} aria-label=${t("keepAccount")}>
      <${Field} label=${t("username")} name="username" required autocomplete="username" autocapitalize="none"
        spellcheck=${false} />
      <${Field} label=${t("password")} name="password" type="password" required minlength="8"
        autocomplete="new-password" hint=${t("passwordHint")} />
      <${ErrorNote} error=${error} />
      <button class="secondary" disabled=${busy}>${t("keepAccount")}</button>
    </form>
  </section>`;
}

function Password() {
  const [isDone, setDone] = useState(false);
  const { busy, error, onSubmit } = useForm(async ({ oldPassword, newPassword }, form) => {
    setDone(false);
    await client.changePassword(oldPassword, newPassword);
    form.reset();
    setDone(true);
  });
  return html`<section>
    <h3>${t("passwordChange")}</h3>
    <form onSubmit=${onSubmit} aria-label=${t("passwordChange")}>
      <input type="text" hidden autocomplete="username" value=${client.profile?.username ?? ""} readonly />
      <${Field} label=${t("oldPassword")} name="oldPassword" type="password" required autocomplete="current-password" />
      <${Field} label=${t("newPassword")} name="newPassword" type="password" required minlength="8"
        autocomplete="new-password" hint=${t("passwordHint")} />
      <${ErrorNote} error=${error?.reason === "BAD_CREDENTIALS" ? { message: t("oldPasswordWrong") } : error} />
      <button class="secondary" disabled=${busy}>${t("passwordChange")}</button>
      <p class="quiet" role="status">${isDone ? t("passwordChanged") : ""}</p>
    </form>
  </section>`;
}
