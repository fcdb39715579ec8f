const RECALLED = 4;
const MAX_NAMED = 10; // users of a reaction that a message lists
const PREVIEW_LENGTH = 200;

/** A message with what its own metadata says, and nothing of what others did with it. Takes one that is complete too. */
function toDetail(message) {
  if (message.message) return message;
  const mentions = message.metadata?.mentions ?? "";
  return {
    message, editedAt: 0, reply: null, reactions: [], pin: null, forwarded: null, mentionsAll: mentions === "all",
    mentionedUserIds: mentions && mentions !== "all" ? mentions.split(",").map((each) => each.trim()) : [],
  };
}

function isMentioned(message, userId) {
  const { mentionsAll, mentionedUserIds } = toDetail(message);
  return mentionsAll || mentionedUserIds.includes(userId);
}

function previewOf({ messageId, fromUserId, content, messageType, status }) {
  return { messageId, fromUserId, content: [...content].slice(0, PREVIEW_LENGTH).join(""), messageType, status };
}

/** The message after an event that may be about it or about what it answers; the same object if nothing changes. */
function detailAfter(detail, event, userId) {
  const { messageId } = detail.message;
  const about = event.message?.messageId ?? event.messageId;
  if (about === messageId) return DETAIL_CHANGES[event.type]?.(detail, event, userId) ?? detail;
  if (!detail.reply || about !== detail.reply.messageId) return detail;
  if (event.type === "messageUpdated") return { ...detail, reply: previewOf(event.message) };
  return event.type === "messageDeleted" ? { ...detail, reply: null } : detail;
}

const DETAIL_CHANGES = {
  messageSent: (_, { message, detail }) => detail ?? toDetail(message),
  messageUpdated(detail, { message, editedAt }) {
    if (message.status === RECALLED) return toDetail(message);
    const { mentionsAll, mentionedUserIds } = toDetail(message);
    return { ...detail, message, mentionsAll, mentionedUserIds, editedAt: editedAt || detail.editedAt };
  },
  reactionChanged(detail, { userId: reactor, reaction, added, count }, userId) {
    const isThis = (each) => each.reaction === reaction;
    const before = detail.reactions.find(isThis) ?? { reaction, count: 0, mine: false, userIds: [] };
    const others = before.userIds.filter((each) => each !== reactor);
    const userIds = added ? [...others, reactor].slice(0, MAX_NAMED) : others;
    const after = { reaction, count, mine: reactor === userId ? added : before.mine, userIds };
    if (!count) return { ...detail, reactions: detail.reactions.filter((each) => !isThis(each)) };
    if (!detail.reactions.some(isThis)) return { ...detail, reactions: [...detail.reactions, after] };
    return { ...detail, reactions: detail.reactions.map((each) => (isThis(each) ? after : each)) };
  },
  pinChanged: (detail, { pin }) => ({ ...detail, pin }),
};
