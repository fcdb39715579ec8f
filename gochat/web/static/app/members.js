// The members of a group, and what one can do with each of them by one's role.

import { client, html, useEffect, useState } from "./ui.js";
import { dateTime, t } from "./text.js";
import { ErrorNote, Field, Icon, IconButton } from "./parts.js";
import { PeopleSearch, Person, personOf } from "./people.js";
import { may, meet, nameOf } from "./groups.js";
import { Menu } from "./menu.js";
import { MEMBER_DIALOGS } from "./member_dialogs.js";

const PAGE_SIZE = 100;
const SEARCH_AFTER_MS = 200;
const SEARCH_FROM = 10; // members from which on one can search among them
const OUTRANKED = { owner: ["admin", "member"], admin: ["member"] };

export function Members({ conversation, known, total }) {
  const { conversationId, role } = conversation;
  const [query, setQuery] = useState("");
  const [listed, setListed] = useState({ ids: [], nextPageToken: "" });
  const [error, setError] = useState(null);
  const [menu, setMenu] = useState(null); // { detail, anchor }
  const [dialog, setDialog] = useState(null); // { kind, detail }
  const load = async (pageToken = "") => {
    try {
      const page = await client.listMembers(conversationId, { query: query.trim(), pageToken, limit: PAGE_SIZE });
      meet(conversationId, page.members);
      const ids = page.members.map(({ member }) => member.userId);
      setListed((before) => ({ ids: pageToken ? [...before.ids, ...ids] : ids, nextPageToken: page.nextPageToken }));
    } catch (failed) {
      setError(failed);
    }
  };
  useEffect(() => {
    const timer = setTimeout(load, query ? SEARCH_AFTER_MS : 0);
    const isAbout = (event) => event.conversationId === conversationId && ["memberJoined", "memberLeft"].includes(event.type);
    const stop = client.on("event", (event) => isAbout(event) && load());
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [query]);
  const act = async (call, then = () => {}) => {
    setError(null);
    await call().then(then, setError);
  };
  const add = (user, begin) => html`<button type="button" class="secondary"
    aria-label=${t("addNamed", { name: user.nickname || user.username })}
    onClick=${() => act(() => client.addMembers(conversationId, [user.userId]), begin)}>${t("add")}</button>`;
  const members = listed.ids.map((userId) => known.members.get(userId)).filter(Boolean);
  const Opened = MEMBER_DIALOGS[dialog?.kind];
  return html`
    <h3>${t("members")} <span class="count">${total}</span></h3>
    <${ErrorNote} error=${error} />
    ${(total > SEARCH_FROM || query) && html`<${Field} label=${t("searchMembers")} type="search" maxlength="64" autocomplete="off" value=${query}
      onInput=${({ target }) => setQuery(target.value)} />`}
    <ul role="list" class="people" aria-label=${t("members")}>
      ${members.map((detail) => html`<li key=${detail.member.userId}>
        <${Member} detail=${detail} groupId=${conversationId}
          hasMenu=${Boolean(itemsOf({ detail, role, act, show: setDialog, groupId: conversationId }).length)}
          onmenu=${(anchor) => setMenu({ detail, anchor })} />
      </li>`)}
    </ul>
    ${listed.nextPageToken && html`<button type="button" class="secondary" onClick=${() => load(listed.nextPageToken)}>${t("showMore")}</button>`}
    ${may(conversation, "adding") && html`<details class="more"><summary>${t("addMembers")}</summary>
      <${PeopleSearch} action=${add} without=${listed.ids} autofocus=${false} />
    </details>`}
    ${menu && html`<${Menu} label=${t("actionsFor", { name: nameOf(menu.detail.member.userId, conversationId) })} anchor=${menu.anchor}
      items=${itemsOf({ detail: menu.detail, role, act, show: setDialog, groupId: conversationId })} onclose=${() => setMenu(null)} />`}
    ${Opened && html`<${Opened} detail=${dialog.detail} groupId=${conversationId} onclose=${() => setDialog(null)} />`}`;
}

function outranks(role, { member }) {
  return Boolean(OUTRANKED[role]?.includes(member.role)) && member.userId !== client.userId;
}

function itemsOf({ detail, role, act, show, groupId }) {
  const { member, mutedUntil } = detail;
  const { userId } = member;
  const isMe = userId === client.userId;
  const isAbove = outranks(role, detail);
  const isOwner = role === "owner";
  const titled = isAbove || (isMe && role !== "member");
  const dialog = (kind) => () => show({ kind, detail });
  const items = [
    (isMe || isAbove) && { label: t("changeNickname"), icon: "edit", act: dialog("nickname") },
    titled && { label: t("changeTitle"), icon: "tag", act: dialog("title") },
    isOwner && isAbove && member.role === "member" && { label: t("makeAdmin"), icon: "shield", act: () => act(() => client.setRole(groupId, userId, "admin")) },
    member.role === "admin" && (isMe || isOwner) && {
      label: t(isMe ? "stepDown" : "makeMember"), icon: "down", act: () => act(() => client.setRole(groupId, userId, "member")),
    },
    isOwner && isAbove && { label: t("makeOwner"), icon: "crown", act: dialog("owner") },
    isAbove && (mutedUntil > Date.now()
      ? { label: t("unmuteMember"), icon: "bell", act: () => act(() => client.muteMember(groupId, userId, 0)) }
      : { label: t("muteMember"), icon: "muted", act: dialog("mute") }),
    isAbove && { label: t("remove"), icon: "trash", isDanger: true, act: () => act(() => client.removeMember(groupId, userId)) },
    isAbove && { label: t("ban"), icon: "ban", isDanger: true, act: dialog("ban") },
  ];
  return items.filter(Boolean);
}

function Member({ detail, groupId, hasMenu, onmenu }) {
  const { member: { userId, avatar, role }, title, mutedUntil } = detail;
  const name = nameOf(userId, groupId);
  const label = userId === client.userId ? `${name} (${t("you")})` : name;
  const own = detail.groupNickname && detail.groupNickname !== personOf(userId).name ? personOf(userId).name : "";
  const note = [title, own].filter(Boolean).join(" · ");
  const until = mutedUntil === Infinity ? t("mutedForGood") : t("mutedUntil", { when: mutedUntil > Date.now() ? dateTime(mutedUntil) : "" });
  return html`<${Person} userId=${userId} name=${label} note=${note} avatar=${avatar}>
    ${mutedUntil > Date.now() && html`<span class="quiet state" title=${until}><${Icon} name="muted" label=${until} /></span>`}
    <span class=${`role ${role}`}>${t(role)}</span>
    ${hasMenu && html`<${IconButton} icon="more" label=${t("actionsFor", { name })} aria-haspopup="menu"
      onClick=${({ currentTarget }) => onmenu(currentTarget)} />`}
  <//>`;
}
