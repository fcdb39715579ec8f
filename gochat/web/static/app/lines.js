// What happens in a conversation beside messages, as lines among them: who comes and goes, roles, pins.

import { client } from "./ui.js";
import { t } from "./text.js";
import { nameOf } from "./groups.js";

const MAX_LINES = 100; // of a conversation
const lines = new Map(); // by conversation

/** Oldest first: { key, at, event }. */
export function linesOf(conversationId) {
  return lines.get(conversationId) ?? [];
}

/** By type of event: the name of its text, "" for none. */
const TEXTS = {
  memberJoined: ({ member, actorId }) => (!actorId || actorId === member.userId ? "lineJoined" : "lineAdded"),
  memberLeft: ({ reason }) => (reason === "REASON_REMOVED" ? "lineRemoved" : "lineLeft"),
  memberUpdated: ({ member }) => ({ owner: "lineOwner", admin: "lineAdmin", member: "lineMember" })[member.role] ?? "",
  pinChanged: ({ pin }) => (pin ? "linePinned" : "lineUnpinned"),
};

export function lineText(event) {
  const { type, conversationId, actorId } = event;
  const name = TEXTS[type](event);
  const subject = event.member?.userId ?? event.userId ?? actorId;
  const named = (userId, you) => (userId === client.userId ? t(you) : nameOf(userId, conversationId));
  const isObject = name === "lineAdded" || name === "lineRemoved";
  const isMine = type === "memberUpdated" && subject === client.userId;
  const who = named(subject, isObject ? "youObject" : "you");
  return t(isMine ? `${name}You` : name, { who, actor: actorId ? named(actorId, "you") : t("service") });
}

client.on("event", (event) => {
  if (!TEXTS[event.type]?.(event)) return;
  if (event.type !== "pinChanged" && client.conversation(event.conversationId)?.type !== "group") return;
  const about = event.member?.userId ?? event.userId ?? event.messageId;
  const key = `line ${event.at} ${event.type} ${about}`;
  const known = linesOf(event.conversationId);
  if (known.some((line) => line.key === key)) return; // said twice
  lines.set(event.conversationId, [...known, { key, at: event.at, event }].slice(-MAX_LINES));
});
client.on("signedOut", () => lines.clear());
