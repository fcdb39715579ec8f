// What there is to know and to do about a conversation: its members, if it is a group, and leaving it.

import { client, emptied, html, select, useEffect, useForm, useState } from "./ui.js";
import { t } from "./text.js";
import { Avatar, Dialog, ErrorNote, Field } from "./parts.js";
import { PeopleSearch, Person, know, personOf, presenceText } from "./people.js";

const PAGE_SIZE = 100;
const MANAGED_BY = { owner: ["admin", "member"], admin: ["member"] };

export function Details({ conversation, onclose }) {
  const { conversationId, name, avatar, type, peerUserId } = conversation;
  const Shown = type === "group" ? Group : Peer;
  return html`<${Dialog} title=${t("details")} onclose=${onclose}>
    <div class="portrait">
      <${Avatar} id=${peerUserId || conversationId} name=${name} avatar=${avatar} size="large" />
      <h3 dir="auto">${name}</h3>
    </div>
    <${Shown} conversation=${conversation} />
    <${Confirmed} label=${t("hide")} question=${t("hideConfirm")} act=${async () => {
      await client.hideConversation(conversationId);
      select("");
    }} />
  <//>`;
}

function Peer({ conversation: { peerUserId } }) {
  const [profile, setProfile] = useState(null);
  useEffect(() => {
    if (peerUserId) client.getProfile(peerUserId).then(setProfile, () => {});
  }, []);
  return html`<div class="portrait">
    ${profile && html`<p class="quiet" dir="auto">@${profile.username}</p>`}
    <p class="quiet">${presenceText(peerUserId)}</p>
    ${profile?.bio.trim() && html`<p class="prose" dir="auto">${profile.bio}</p>`}
  </div>`;
}

function Group({ conversation }) {
  const { conversationId, role } = conversation;
  const [group, setGroup] = useState(null);
  const [{ members, total }, setMembers] = useState({ members: [], total: 0 });
  const [error, setError] = useState(null);
  const load = async (page = 1) => {
    try {
      const { members: those, pagination } = await client.members(conversationId, { page, limit: PAGE_SIZE });
      those.forEach(know);
      setMembers((before) => ({ members: page > 1 ? [...before.members, ...those] : those, total: pagination.total }));
      setGroup(await client.getGroup(conversationId));
    } catch (failed) {
      setError(failed);
    }
  };
  useEffect(() => {
    load();
    const isAbout = ["memberJoined", "memberLeft", "memberUpdated", "groupUpdated"];
    return client.on("event", (event) => event.conversationId === conversationId && isAbout.includes(event.type) && load());
  }, []);
  const act = async (call, then = () => {}) => {
    setError(null);
    await call().then(() => (then(), load()), setError);
  };
  const manages = role in MANAGED_BY;
  const add = (user, begin) => html`<button type="button" class="secondary"
    aria-label=${t("addNamed", { name: user.nickname || user.username })}
    onClick=${() => act(() => client.addMembers(conversationId, [user.userId]), begin)}>${t("add")}</button>`;
  return html`
    ${group && (manages ? html`<${Rename} group=${group} />` : html`<p class="prose" dir="auto">${group.description}</p>`)}
    <${ErrorNote} error=${error} />
    <h3>${t("members")} <span class="count">${total}</span></h3>
    <ul role="list" class="people" aria-label=${t("members")}>
      ${members.map((member) => html`<li key=${member.userId}>
        <${Member} member=${member} canRemove=${MANAGED_BY[role]?.includes(member.role) && member.userId !== client.userId}
          remove=${() => act(() => client.removeMember(conversationId, member.userId))} />
      </li>`)}
    </ul>
    ${members.length < total && html`<button type="button" class="secondary"
      onClick=${() => load(1 + Math.floor(members.length / PAGE_SIZE))}>${t("showMore")}</button>`}
    ${manages && html`<details class="more"><summary>${t("addMembers")}</summary>
      <${PeopleSearch} action=${add} without=${members.map(({ userId }) => userId)} autofocus=${false} />
    </details>`}
    ${role === "owner" && total > 1
      ? html`<p class="quiet">${t("ownerCannotLeave")}</p>`
      : html`<${Confirmed} label=${t("leave")} question=${t("leaveConfirm")} act=${async () => {
          await client.leaveGroup(conversationId);
          select("");
        }} />`}`;
}

function Member({ member: { userId, nickname, avatar, role }, canRemove, remove }) {
  const name = nickname || personOf(userId).name;
  const label = userId === client.userId ? `${name} (${t("you")})` : name;
  return html`<${Person} userId=${userId} name=${label} avatar=${avatar}>
    <span class=${`role ${role}`}>${t(role)}</span>
    ${canRemove && html`<button type="button" class="secondary" aria-label=${t("removeNamed", { name })}
      onClick=${remove}>${t("remove")}</button>`}
  <//>`;
}

function Rename({ group }) {
  const [isSaved, setSaved] = useState(false);
  const { busy, error, onSubmit } = useForm(async ({ name, description }) => {
    await client.updateGroup(group.groupId, { name: name.trim(), description: emptied(description, group.description) });
    setSaved(true);
  });
  return html`<form onSubmit=${onSubmit} onInput=${() => setSaved(false)}>
    <${Field} label=${t("groupName")} name="name" required maxlength="100" defaultValue=${group.name} dir="auto" />
    <${Field} label=${t("description")} name="description" maxlength="1000" multiline defaultValue=${group.description.trim()} dir="auto" />
    <${ErrorNote} error=${error} />
    <button class="secondary" disabled=${busy}>${t("save")}</button>
    <span class="quiet" role="status">${isSaved ? ` ${t("saved")}` : ""}</span>
  </form>`;
}

/** A button that asks once more before it acts. */
function Confirmed({ label, question, act }) {
  const [isAsking, setAsking] = useState(false);
  const [error, setError] = useState(null);
  if (!isAsking) {
    return html`<p><button type="button" class="danger" onClick=${() => setAsking(true)}>${label}</button></p>`;
  }
  return html`<div class="confirm" role="group" aria-label=${question}>
    <p>${question}</p>
    <${ErrorNote} error=${error} />
    <button type="button" class="danger full" onClick=${() => act().catch(setError)}>${label}</button>
    <button type="button" class="secondary" onClick=${() => setAsking(false)}>${t("cancel")}</button>
  </div>`;
}
