// What happens in a conversation beside messages, as lines among them: who comes and goes, roles, names, pins. The history
// does not have it: what this browser has heard of, it keeps.

import { client, signal } from "./ui.js";
import { t } from "./text.js";
import { keep, kept } from "./kept.js";
import { nameOf } from "./groups.js";

const MAX_LINES = 50; // of a conversation
const NONE = [];
const lines = new Map(); // by conversation
const names = new Map(); // of groups, before what happens

const [tell, useLines] = signal();
export { useLines };

/** Oldest first: { key, at, event }. */
export function linesOf(conversationId) {
  return lines.get(conversationId) ?? NONE;
}

const stored = ({ key, event }) => `line/${event.conversationId}/${key}`;

function add(line) {
  const { conversationId } = line.event;
  const before = linesOf(conversationId);
  if (before.some(({ key }) => key === line.key)) return; // said twice
  const all = [...before, line].sort((one, other) => one.at - other.at);
  for (const old of all.slice(0, -MAX_LINES)) keep(stored(old), undefined);
  lines.set(conversationId, all.slice(-MAX_LINES));
}

kept("line/").then((found) => {
  found.forEach(add);
  tell();
});

/** By type of event: the name of its text, "" for none. */
const TEXTS = {
  memberJoined: ({ actorId, userId }) => (!actorId || actorId === userId ? "lineJoined" : "lineAdded"),
  memberLeft: ({ reason }) => (reason === "REASON_REMOVED" ? "lineRemoved" : "lineLeft"),
  memberUpdated: ({ member }) => ({ owner: "lineOwner", admin: "lineAdmin", member: "lineMember" })[member.role] ?? "",
  groupUpdated: ({ conversationId, name }) => ((names.get(conversationId) ?? name) === name ? "" : "lineRenamed"),
  pinChanged: ({ pin }) => (pin ? "linePinned" : "lineUnpinned"),
};

export function lineText({ text: name, conversationId, actorId, type, userId, name: groupName }) {
  const subject = userId ?? actorId;
  const named = (id, you) => (id === client.userId ? t(you) : nameOf(id, conversationId));
  const isObject = name === "lineAdded" || name === "lineRemoved";
  const isMine = type === "memberUpdated" && subject === client.userId;
  const who = named(subject, isObject ? "youObject" : "you");
  return t(isMine ? `${name}You` : name, { who, actor: actorId ? named(actorId, "you") : t("service"), name: groupName });
}

client.on("event", (event) => {
  const { type, at, conversationId, actorId, messageId } = event;
  const userId = event.member?.userId ?? event.userId;
  const { name } = event.group ?? {};
  const text = TEXTS[type]?.({ ...event, userId, name });
  if (name) names.set(conversationId, name);
  const conversation = client.conversation(conversationId);
  if (conversationId && !conversation) {
    for (const line of linesOf(conversationId)) keep(stored(line), undefined);
    lines.delete(conversationId);
  } else if (text && (type === "pinChanged" || conversation.type === "group")) {
    const line = { key: `line ${at} ${type} ${userId ?? messageId ?? name}`, at, event: { text, type, conversationId, actorId, userId, name } };
    add(line);
    keep(stored(line), line);
  }
});
client.on("conversations", (conversations) => {
  for (const { conversationId, type, name } of conversations) if (type === "group") names.set(conversationId, name);
});
client.on("signedOut", () => [lines, names].forEach((each) => each.clear()));
