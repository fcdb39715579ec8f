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
  const { conversationId, actorId } = event;
  const named = (userId) => (userId === client.userId ? t("you") : nameOf(userId, conversationId));
  const who = named(event.member?.userId ?? event.userId ?? actorId);
  return t(TEXTS[event.type](event), { who, actor: actorId ? named(actorId) : t("service") });
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
