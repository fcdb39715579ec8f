// Mentions of members: while one writes @, who could be meant; and whom a text mentions.

import { client, useEffect, useState } from "./ui.js";
import { t } from "./text.js";
import { groupOf, isManager, meet, nameOf } from "./groups.js";

const MAX_OPTIONS = 6;
const SEARCH_AFTER_MS = 150;
const ALL = "all";

/** What could complete the @word before the caret: { start, options: [{ id, name, note }] }, or null. */
export function useCompletion(conversation, text, caret) {
  const [, update] = useState(0);
  const { conversationId } = conversation;
  const found = conversation.type === "group" ? /(?:^|[\s(（])@([^\s@]{0,64})$/u.exec(text.slice(0, caret)) : null;
  const query = found?.[1];
  const isPartial = Boolean(groupOf(conversationId).nextPageToken);
  useEffect(() => {
    if (!query || !isPartial) return;
    const search = () => client.listMembers(conversationId, { query, limit: 20 }).then(({ members }) => {
      meet(conversationId, members);
      update((count) => count + 1);
    }, () => {});
    const timer = setTimeout(search, SEARCH_AFTER_MS);
    return () => clearTimeout(timer);
  }, [query, isPartial]);
  if (!found) return null;
  const wanted = query.toLocaleLowerCase();
  const all = isManager(conversation) ? [{ id: ALL, name: ALL, note: t("mentionAll") }] : [];
  const options = [...membersOf(conversationId), ...all].filter(({ name }) => name.toLocaleLowerCase().includes(wanted));
  const isFirst = ({ name }) => Number(!name.toLocaleLowerCase().startsWith(wanted));
  const sorted = options.sort((a, b) => isFirst(a) - isFirst(b)).slice(0, MAX_OPTIONS);
  return sorted.length ? { start: caret - query.length - 1, options: sorted } : null;
}

function membersOf(conversationId) {
  const others = [...groupOf(conversationId).members.values()].filter(({ member }) => member.userId !== client.userId);
  return others.map(({ member, title }) => ({ id: member.userId, name: nameOf(member.userId, conversationId), note: title }));
}

/** Whom a text mentions, as send() takes it. */
export function mentionsIn(text, conversation) {
  if (conversation.type !== "group" || !text.includes("@")) return [];
  if (isManager(conversation) && /@all(?![\p{L}\p{N}])/u.test(text)) return ALL;
  const members = membersOf(conversation.conversationId).filter(({ name }) => name);
  let rest = text;
  const isIn = ({ name }) => {
    const before = rest;
    rest = rest.split(`@${name}`).join(" "); // "@Ann Lee" is no mention of Ann
    return rest !== before;
  };
  const longestFirst = members.sort((a, b) => b.name.length - a.name.length);
  return longestFirst.filter(isIn).map(({ id }) => id).slice(0, 100);
}
