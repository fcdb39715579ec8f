// What the page knows of other people: names, who types. Names are asked for once, when they are first shown, and kept.

import { client, html, signal, useEffect, useRef, useState, useUpdates } from "./ui.js";
import { keep, kept } from "./kept.js";
import { shortDay, t } from "./text.js";
import { Avatar, ErrorNote, Field } from "./parts.js";

const TYPING_MS = 6000;
const SEARCH_AFTER_MS = 200;

const people = new Map(); // by user id: { name, avatar }
const asked = new Set(); // user ids of those that need not be asked for
const unknown = new Set(); // user ids that were asked for in vain: they are again once the server is back
const typing = new Map(); // by conversation: a map of user ids to timers

/** Shows the component again when names come, or somebody begins or ends to type. */
const [changed, usePeople] = signal();
export { usePeople };

/** person: whatever the server tells of a user. */
export function know({ userId, nickname, username, avatar }) {
  const before = people.get(userId);
  const name = nickname || username || before?.name || "";
  asked.add(userId);
  unknown.delete(userId);
  if (before?.name === name && before.avatar === avatar) return;
  people.set(userId, { name, avatar });
  keep(`person/${userId}`, { userId, name, avatar });
}

export function personOf(userId) {
  if (userId === client.userId && client.profile) know(client.profile);
  if (userId && !asked.has(userId)) {
    asked.add(userId);
    client.getProfile(userId).then((profile) => (know(profile), changed()), () => unknown.add(userId));
  }
  return people.get(userId) ?? { name: "", avatar: "" };
}

kept("person/").then((persons) => {
  for (const { userId, name, avatar } of persons) if (!people.has(userId)) people.set(userId, { name, avatar });
  changed();
});

client.on("event", (event) => {
  if (event.type === "profileUpdated") know(event.profile);
  else if (event.type === "typing" && event.userId !== client.userId) setTyping(event, event.typing);
  else if (event.type === "messageSent") setTyping({ ...event, userId: event.actorId }, false);
  else if (event.type !== "presence") return;
  changed();
});
client.on("signedOut", () => [people, asked, unknown].forEach((each) => each.clear()));
client.on("connection", (connection) => {
  if (connection !== "online") return;
  for (const userId of unknown) asked.delete(userId);
  unknown.clear();
  changed();
});

function setTyping({ conversationId, userId }, isTyping) {
  const those = typing.get(conversationId) ?? new Map();
  clearTimeout(those.get(userId));
  those.delete(userId);
  if (isTyping) {
    const stop = () => (setTyping({ conversationId, userId }, false), changed());
    those.set(userId, setTimeout(stop, TYPING_MS));
  }
  typing.set(conversationId, those);
}

/** "Ann is typing…", or "". */
export function typingText({ conversationId, type }) {
  const those = [...(typing.get(conversationId)?.keys() ?? [])];
  if (!those.length) return "";
  if (type === "single") return t("typing");
  return those.length === 1 ? t("isTyping", { name: personOf(those[0]).name }) : t("areTyping", { n: those.length });
}

/** null while nobody says it, as without a server. */
function presenceOf(userId) {
  return client.connection === "online" ? client.presence(userId) : null;
}

export function isOnline(userId) {
  return Boolean(presenceOf(userId)?.online);
}

export function presenceText(userId) {
  const presence = presenceOf(userId);
  if (!presence) return "";
  if (presence.online) return t("online");
  return presence.lastActiveAt ? t("lastSeen", { when: shortDay(presence.lastActiveAt) }) : t("offline");
}

export function Person({ userId, name, note, avatar, children }) {
  return html`<div class="person">
    <${Avatar} id=${userId} name=${name} avatar=${avatar} size="small" online=${isOnline(userId)} />
    <span class="names"><strong dir="auto">${name}</strong>${note && html`<small dir="auto">${note}</small>`}</span>
    ${children}
  </div>`;
}

/** A search for people. action(user, begin): the button of one that is found; begin() makes ready for the next search. */
export function PeopleSearch({ action, without = [], autofocus = true }) {
  const [query, setQuery] = useState("");
  const [{ users, error, of }, setFound] = useState({ users: [], error: null, of: "" });
  const input = useRef();
  useUpdates("connection");
  useEffect(() => autofocus && input.current.focus(), []);
  useEffect(() => {
    const wanted = query.trim();
    if (!wanted) return setFound({ users: [], error: null, of: "" });
    const search = async () => {
      try {
        const { users } = await client.searchUsers(wanted);
        users.forEach(know);
        setFound({ users, error: null, of: wanted });
      } catch (error) {
        setFound({ users: [], error, of: wanted });
      }
    };
    const timer = setTimeout(search, SEARCH_AFTER_MS);
    return () => clearTimeout(timer);
  }, [query, client.connection]);
  const begin = () => {
    setQuery("");
    input.current.focus(); // the button that had it goes
  };
  const shown = users.filter(({ userId }) => userId !== client.userId && !without.includes(userId));
  return html`<div class="search">
    <${Field} label=${t("searchPeople")} type="search" input=${input} autocomplete="off" maxlength="64"
      value=${query} onInput=${({ target }) => setQuery(target.value)} hint=${!query && t("searchHint")} />
    <${ErrorNote} error=${error} />
    <ul role="list" class="people" aria-label=${t("people")}>
      ${shown.map((user) => html`<li key=${user.userId}>
        <${Person} userId=${user.userId} name=${user.nickname || user.username} note=${`@${user.username}`}
          avatar=${user.avatar}>${action(user, begin)}<//>
      </li>`)}
    </ul>
    <p class="quiet" role="status">${of && !shown.length && !error ? t("nothingFound") : ""}</p>
  </div>`;
}

