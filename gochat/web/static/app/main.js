// The page: who is not signed in sees Entry, who is the conversations and the chosen one.

import { client, html, invitationToken, render, select, selectedId, useEffect, useState, useUpdates } from "./ui.js";
import { currentLanguage, t } from "./text.js";
import { Entry } from "./entry.js";
import { Sidebar } from "./sidebar.js";
import { Chat } from "./chat.js";
import { Banner } from "./banner.js";
import { comeBack, takeAnswer } from "./login.js";
import { Invited } from "./find_groups.js";

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;

const answer = takeAnswer(); // before anything reads the address

function App() {
  const [isReturning, setReturning] = useState(Boolean(answer));
  const [selected, setSelected] = useState(selectedId());
  const [invitation, setInvitation] = useState(invitationToken());
  const [language, setLanguage] = useState(currentLanguage());
  const [notice, setNotice] = useState("");
  useUpdates("connection");
  useEffect(() => {
    addEventListener("hashchange", () => {
      setSelected(selectedId());
      setInvitation(invitationToken());
    });
    addEventListener("languagechange", () => setLanguage(currentLanguage()));
    client.on("signedOut", (error) => {
      setNotice(error ? t("sessionOver") : "");
      select("");
    });
    let renewedFor = "";
    client.on("connection", (connection) => {
      if (connection === "signedOut") renewedFor = "";
      if (connection !== "online" || renewedFor === client.userId) return;
      renewedFor = client.userId;
      import("./push.js").then(({ renewPush }) => renewPush()).catch(() => (renewedFor = ""));
    });
    navigator.serviceWorker?.addEventListener("message", ({ data }) => select(data.open ?? ""));
    client.start();
    if (answer) comeBack(answer).catch(() => setNotice(t("notSignedIn"))).finally(() => setReturning(false));
  }, []);
  if (isReturning) return html`<main class="entry"><p role="status">${t("connecting")}</p></main>`;
  if (client.connection === "signedOut") return html`<${Entry} key=${language} notice=${notice} />`;
  return html`<div class=${`page ${selected ? "in-chat" : ""}`} key=${language}>
    <${Banner} />
    <${Sidebar} selected=${selected} />
    <main>${selected ? html`<${Chat} key=${selected} conversationId=${selected} />` : html`<${Welcome} />`}</main>
    ${invitation && html`<${Invited} key=${invitation} token=${invitation} onclose=${() => select("")} />`}
  </div>`;
}

function Welcome() {
  return html`<div class="welcome">
    <img src="/icon.svg" alt="" width="96" height="96" />
    <h1>GoChat</h1>
    <p>${t("pickConversation")}</p>
  </div>`;
}

render(html`<${App} />`, document.getElementById("app"));
// Only once all is shown: what it keeps is loaded again.
navigator.serviceWorker?.register("/worker.js").catch(() => {});
