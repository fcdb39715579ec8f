// What the page knows of groups: their settings, their members by what they are there, and who asks to join.

import { client, useEffect, useState } from "./ui.js";
import { know, personOf } from "./people.js";

const MEMBERS = 200; // asked for at once
const groups = new Map(); // by id
const handlers = new Set();

/** settings: null until they are known. members: a map by user id of as many as are known. */
export function groupOf(groupId) {
  if (!groups.has(groupId)) groups.set(groupId, { settings: null, members: new Map(), requests: [], nextPageToken: "" });
  return groups.get(groupId);
}

/** Shows the component again when something of groups changes; reads this one, if it is one. */
export function useGroup(conversation) {
  const [, update] = useState(0);
  const { conversationId, type, role } = conversation ?? {};
  useEffect(() => {
    const handler = () => update((count) => count + 1);
    handlers.add(handler);
    return () => handlers.delete(handler);
  }, []);
  useEffect(() => {
    if (type !== "group") return;
    load(conversationId);
    return client.on("connection", (connection) => connection === "online" && load(conversationId));
  }, [type]);
  useEffect(() => {
    if (type === "group") loadRequests(conversationId);
  }, [type, role]);
  return groupOf(conversationId);
}

export function isManager({ role } = {}) {
  return role === "owner" || role === "admin";
}

/** Who may do what the setting of that name says: posting, adding, editing. */
export function may(conversation, setting) {
  if (isManager(conversation)) return true;
  return groupOf(conversation.conversationId).settings?.[setting] === "WHO_EVERYONE";
}

/** The name of a user: in a group the one that they have there. */
export function nameOf(userId, conversationId) {
  return groups.get(conversationId)?.members.get(userId)?.groupNickname || personOf(userId).name;
}

export function meet(groupId, details) {
  const { members } = groupOf(groupId);
  for (const detail of details) {
    know(detail.member);
    members.set(detail.member.userId, detail);
  }
  changed();
}

async function load(groupId) {
  const group = groupOf(groupId);
  try {
    const [settings, page] = await Promise.all([
      client.groupSettings(groupId), client.listMembers(groupId, { limit: MEMBERS }),
    ]);
    const members = page.nextPageToken ? group.members : new Map();
    Object.assign(group, { settings, nextPageToken: page.nextPageToken, members });
    meet(groupId, page.members);
    if (!group.members.has(client.userId)) meet(groupId, [await client.member(groupId, client.userId)]);
  } catch {
    // Offline, or out of it: what is known stays.
  }
}

async function loadRequests(groupId) {
  const group = groupOf(groupId);
  if (!isManager(client.conversation(groupId) ?? {})) group.requests = [];
  else group.requests = await client.joinRequests(groupId, { limit: 200 }).then(({ requests }) => requests, () => []);
  changed();
}

function changed() {
  for (const handler of handlers) handler();
}

client.on("event", (event) => {
  const { type, conversationId } = event;
  const group = groups.get(conversationId);
  if (type === "joinRequestChanged" && client.conversation(conversationId)) loadRequests(conversationId);
  if (!group) return;
  if (type === "groupSettingsUpdated") group.settings = event.settings;
  else if (type === "memberLeft") group.members.delete(event.userId);
  else if (type === "memberDetailUpdated") return meet(conversationId, [event.member]);
  else if (type === "memberJoined" || type === "memberUpdated") {
    const before = group.members.get(event.member.userId) ?? { title: "", groupNickname: "", mutedUntil: 0 };
    return meet(conversationId, [{ ...before, member: event.member }]);
  } else return;
  changed();
});
client.on("signedOut", () => groups.clear());
