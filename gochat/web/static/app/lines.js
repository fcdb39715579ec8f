// What happens in a conversation beside messages, as lines among them: who comes and goes, roles, pins.

import { client } from "./ui.js";
import { t } from "./text.js";
import { nameOf } from "./groups.js";

const MAX_LINES = 50; // of a conversation
let lines = new Map(); // by conversation
let owner = ""; // the user whose they are

/** Oldest first: { key, at, event }. This tab has them, across reloads. */
export function linesOf(conversationId) {
  if (owner !== client.userId) {
    owner = client.userId;
    lines = new Map(JSON.parse(sessionStorage.getItem(keyOf(owner)) ?? "[]"));
  }
  return lines.get(conversationId) ?? NONE;
}

const NONE = [];

function keyOf(userId) {
  return `lines/${userId}`;
}

function keep(conversationId, line) {
  lines.set(conversationId, [...linesOf(conversationId), line].slice(-MAX_LINES));
  sessionStorage.setItem(keyOf(owner), JSON.stringify([...lines]));
}

/** By type of event: the name of its text, "" for none. */
const TEXTS = {
  memberJoined: ({ actorId, userId }) => (!actorId || actorId === userId ? "lineJoined" : "lineAdded"),
  memberLeft: ({ reason }) => (reason === "REASON_REMOVED" ? "lineRemoved" : "lineLeft"),
  memberUpdated: ({ member }) => ({ owner: "lineOwner", admin: "lineAdmin", member: "lineMember" })[member.role] ?? "",
  pinChanged: ({ pin }) => (pin ? "linePinned" : "lineUnpinned"),
};

export function lineText(event) {
  const { type, conversationId, actorId } = event;
  const name = TEXTS[type](event);
  const subject = event.userId ?? actorId;
  const named = (userId, you) => (userId === client.userId ? t(you) : nameOf(userId, conversationId));
  const isObject = name === "lineAdded" || name === "lineRemoved";
  const isMine = type === "memberUpdated" && subject === client.userId;
  const who = named(subject, isObject ? "youObject" : "you");
  return t(isMine ? `${name}You` : name, { who, actor: actorId ? named(actorId, "you") : t("service") });
}

client.on("event", (event) => {
  const { type, at, conversationId, actorId, reason, messageId, pin } = event;
  const userId = event.member?.userId ?? event.userId;
  if (!TEXTS[type]?.({ ...event, userId })) return;
  if (type !== "pinChanged" && client.conversation(conversationId)?.type !== "group") return;
  const key = `line ${at} ${type} ${userId ?? messageId}`;
  if (linesOf(conversationId).some((line) => line.key === key)) return; // said twice
  const member = event.member && { role: event.member.role };
  keep(conversationId, { key, at, event: { type, conversationId, actorId, userId, member, reason, pin } });
});
client.on("signedOut", () => {
  owner = "";
  lines = new Map();
});
