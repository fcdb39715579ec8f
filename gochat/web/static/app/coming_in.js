// Who comes into a group and who does not: invitations, requests to join, bans.

import { client, html, useEffect, useForm, useState } from "./ui.js";
import { dateTime, t } from "./text.js";
import { Choice, ErrorNote } from "./parts.js";
import { More, usePages } from "./pages.js";
import { Person, personOf, usePeople } from "./people.js";
import { loadRequests, requestsOf } from "./groups.js";
import { copyText } from "./actions.js";

const DAY_MS = 86_400_000;
const VALID_MS = { "1d": DAY_MS, "1w": 7 * DAY_MS, forGood: 0 };
const USES = [0, 1, 5, 10, 50];

/** A list that is read when its part of the page is opened. */
function useListed(load) {
  const pages = usePages(load);
  const act = (call) => call().then(pages.again, pages.fail);
  const ontoggle = ({ currentTarget }) => currentTarget.open && pages.again();
  return { ...pages, act, ontoggle };
}

export function Invitations({ groupId }) {
  const { items, error, act, ontoggle } = useListed(async () => ({ items: await client.invitations(groupId), nextPageToken: "" }));
  const [valid, setValid] = useState("1w");
  const [uses, setUses] = useState("0");
  const [copied, setCopied] = useState("");
  const { busy, error: failed, onSubmit } = useForm(() => act(() =>
    client.createInvitation(groupId, { expiresAt: VALID_MS[valid] && Date.now() + VALID_MS[valid], maxUses: Number(uses) })));
  const copy = ({ token }) => copyText(linkOf(token)).then(() => setCopied(token), () => {});
  const durations = Object.fromEntries(Object.keys(VALID_MS).map((key) => [key, t(`duration_${key}`)]));
  const limits = Object.fromEntries(USES.map((n) => [n, n ? String(n) : t("anyNumber")]));
  return html`<details class="more" onToggle=${ontoggle}><summary>${t("invitations")}</summary>
    <${ErrorNote} error=${error ?? failed} />
    <ul role="list" class="cards" aria-label=${t("invitations")}>
      ${(items ?? []).map((each) => html`<li key=${each.token}>
        <input type="text" readonly aria-label=${t("invitationLink")} value=${linkOf(each.token)} onFocus=${({ target }) => target.select()} />
        <small>${usesText(each)} · ${each.expiresAt ? t("until", { when: dateTime(each.expiresAt) }) : t("duration_forGood")}</small>
        <div class="choices">
          <button type="button" class="secondary" onClick=${() => copy(each)}>${t(copied === each.token ? "copied" : "copyLink")}</button>
          <button type="button" class="danger" onClick=${() => act(() => client.revokeInvitation(groupId, each.token))}>${t("revokeInvitation")}</button>
        </div>
      </li>`)}
    </ul>
    ${items && !items.length && html`<p class="quiet">${t("noInvitations")}</p>`}
    <form onSubmit=${onSubmit}>
      <div class="pair">
        <${Choice} label=${t("validFor")} options=${durations} value=${valid} onChange=${({ target }) => setValid(target.value)} />
        <${Choice} label=${t("maxUses")} options=${limits} value=${uses} onChange=${({ target }) => setUses(target.value)} />
      </div>
      <button class="secondary" disabled=${busy}>${t("createInvitation")}</button>
    </form>
  </details>`;
}

function linkOf(token) {
  return `${location.origin}${location.pathname}#/join/${token}`;
}

function usesText({ uses, maxUses }) {
  return maxUses ? t("usesOf", { n: uses, max: maxUses }) : t(uses === 1 ? "oneUse" : "uses", { n: uses });
}

export function Requests({ conversation, group: { requests, moreRequests } }) {
  const groupId = conversation.conversationId;
  const [error, setError] = useState(null);
  const decide = (userId, accept) => client.decideRequest(groupId, userId, accept).then(() => setError(null), setError);
  return html`<section><h3>${t("requests")} <span class="count">${requestsOf(conversation)}</span></h3>
    <${ErrorNote} error=${error} />
    <ul role="list" class="people" aria-label=${t("requests")}>
      ${requests.map(({ userId, nickname, avatar, note }) => {
        const name = nickname || personOf(userId).name;
        return html`<li key=${userId}>
          <${Person} userId=${userId} name=${name} avatar=${avatar} />
          ${note && html`<p class="note prose" dir="auto">${note}</p>`}
          <div class="choices">
            <button type="button" class="danger" aria-label=${t("declineNamed", { name })} onClick=${() => decide(userId, false)}>${t("decline")}</button>
            <button type="button" class="primary" aria-label=${t("acceptNamed", { name })} onClick=${() => decide(userId, true)}>${t("accept")}</button>
          </div>
        </li>`;
      })}
    </ul>
    <${More} nextPageToken=${moreRequests} more=${() => loadRequests(groupId, moreRequests)} />
  </section>`;
}

export function Bans({ groupId }) {
  const { items, error, act, ontoggle, again, ...pages } = useListed(async (pageToken) => {
    const { bans, nextPageToken } = await client.bans(groupId, { pageToken });
    return { items: bans, nextPageToken };
  });
  usePeople();
  useEffect(() => client.on("event", ({ type, conversationId }) => items && type === "memberLeft" && conversationId === groupId && again()), [items]);
  return html`<details class="more" onToggle=${ontoggle}><summary>${t("bans")}</summary>
    <${ErrorNote} error=${error} />
    ${items && !items.length && html`<p class="quiet">${t("noBans")}</p>`}
    <ul role="list" class="people" aria-label=${t("bans")}>
      ${(items ?? []).map(({ userId, nickname, until, reason }) => {
        const name = nickname || personOf(userId).name;
        const length = until ? t("until", { when: dateTime(until) }) : t("duration_forGood");
        return html`<li key=${userId}><${Person} userId=${userId} name=${name} note=${[length, reason].filter(Boolean).join(" · ")}>
          <button type="button" class="secondary" aria-label=${t("unbanNamed", { name })} onClick=${() => act(() => client.unbanMember(groupId, userId))}>
            ${t("unban")}</button>
        <//></li>`;
      })}
    </ul>
    <${More} ...${pages} />
  </details>`;
}
