// What the page knows of groups: their settings, their members by what they are there, and who asks to join.

import { client, signal, useEffect } from "./ui.js";
import { t } from "./text.js";
import { keep, kept } from "./kept.js";
import { know, personOf } from "./people.js";

const MEMBERS = 200; // asked for at once, and kept
const REQUESTS = 50; // asked for at once
const MANAGED = 50; // groups whose requests are asked for
const groups = new Map(); // by id

const [tell, useGroups] = signal();
export { useGroups };

/** settings: null until they are known. members: a map by user id of as many as are known. */
export function groupOf(groupId) {
  if (!groups.has(groupId)) {
    groups.set(groupId, { settings: null, members: new Map(), nextPageToken: "", requests: [], moreRequests: "" });
  }
  return groups.get(groupId);
}

kept("group/").then((stored) => {
  for (const { groupId, members, ...group } of stored) {
    if (groups.get(groupId)?.settings) continue;
    groups.set(groupId, { ...group, members: new Map(members.map((detail) => [detail.member.userId, detail])) });
  }
  tell();
});

function changed(groupId) {
  const { members, ...group } = groupOf(groupId);
  keep(`group/${groupId}`, { ...group, groupId, members: [...members.values()].slice(0, MEMBERS) });
  tell();
}

/** Shows the component again when something of groups changes; reads this one, if it is one. */
export function useGroup(conversation) {
  const { conversationId, type } = conversation ?? {};
  useGroups();
  useEffect(() => {
    if (type !== "group") return;
    const read = () => (load(conversationId), loadRequests(conversationId));
    read();
    return client.on("connection", (connection) => connection === "online" && read());
  }, [type]);
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
  changed(groupId);
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

/** pageToken: of more of them. */
export async function loadRequests(groupId, pageToken = "") {
  const group = groupOf(groupId);
  const isMine = isManager(client.conversation(groupId));
  if (!isMine && !group.requests.length) return;
  const page = isMine
    ? await client.joinRequests(groupId, { pageToken, limit: REQUESTS }).catch(() => null) // offline: what is known stays
    : { requests: [], nextPageToken: "" };
  if (!page) return;
  Object.assign(group, { requests: [...(pageToken ? group.requests : []), ...page.requests], moreRequests: page.nextPageToken });
  changed(groupId);
}

async function loadAllRequests() {
  const managed = client.conversations.filter((each) => each.type === "group" && isManager(each)).slice(0, MANAGED);
  for (const { conversationId } of managed) await loadRequests(conversationId);
}

/** How many ask to join a group that one manages, "" if nobody does. */
export function requestsOf(conversation) {
  const { requests, moreRequests } = groupOf(conversation.conversationId);
  return requests.length && isManager(conversation) ? `${requests.length}${moreRequests ? "+" : ""}` : "";
}

export function requestsText(n) {
  return t(n === "1" ? "oneRequest" : "requestsCount", { n });
}

client.on("event", (event) => {
  const { type, conversationId } = event;
  if (type === "resync") loadAllRequests();
  const isAboutMe = type === "memberUpdated" && event.member.userId === client.userId;
  if ((type === "joinRequestChanged" || isAboutMe) && client.conversation(conversationId)) loadRequests(conversationId);
  const group = groups.get(conversationId);
  if (!group) return;
  if (!client.conversation(conversationId)) {
    groups.delete(conversationId);
    keep(`group/${conversationId}`, undefined);
    return tell();
  }
  if (type === "groupSettingsUpdated") group.settings = event.settings;
  else if (type === "memberLeft") group.members.delete(event.userId);
  else if (type === "memberDetailUpdated") return meet(conversationId, [event.member]);
  else if (type === "memberJoined" || type === "memberUpdated") {
    const before = group.members.get(event.member.userId) ?? { title: "", groupNickname: "", mutedUntil: 0 };
    return meet(conversationId, [{ ...before, member: event.member }]);
  } else return;
  changed(conversationId);
});
client.on("signedOut", () => groups.clear());
