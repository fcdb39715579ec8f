const FORMAT = 2; // of what is stored; beside what an older version stored, all is read again
const NOTHING_SET = { settings: fill(SETTINGS), unreadMentions: 0, mentionsCounted: "", recalled: [] };
const MAX_STORED = 400; // messages of a conversation; beyond it the older half goes

/** The conversations of a user, kept up to date by events. In each tab; the leader's are stored. */
class Conversations {
  #store;
  #byId = new Map();
  #sorted = null;
  /** Of the newest batch of events that is in it. */
  version = 0;
  cursor = "";

  constructor(store) {
    this.#store = store;
  }

  async load() {
    const { cursor = "", version = 0, format } = (await this.#store.get("position")) ?? {};
    Object.assign(this, { cursor: format === FORMAT ? cursor : "", version });
    const stored = await this.#store.list("conversation/");
    this.replace(stored.map((conversation) => ({ ...NOTHING_SET, ...conversation })));
  }

  /** What says how far the store is. */
  get position() {
    return { cursor: this.cursor, version: this.version, format: FORMAT };
  }

  replace(list) {
    this.#byId = new Map(list.map((conversation) => [conversation.conversationId, conversation]));
    this.#sorted = null;
  }

  get(conversationId) {
    return this.#byId.get(conversationId);
  }

  /** Those that are pinned, the latest pin first, then the others by their latest activity. */
  get sorted() {
    const rank = ({ settings, updatedAt }, other) => settings.pinnedAt - other.settings.pinnedAt || updatedAt - other.updatedAt;
    this.#sorted ??= [...this.#byId.values()].sort((a, b) => rank(b, a));
    return this.#sorted;
  }

  set(conversation) {
    this.#byId.set(conversation.conversationId, conversation);
    this.#sorted = null;
  }

  /** conversation: one that has just been made with the user of this profile. */
  async meet(conversation, { userId, nickname, username, avatar }) {
    const info = { ...conversation, name: conversation.name || nickname || username, avatar, lastMessage: null };
    const met = { ...(this.get(conversation.conversationId) ?? toConversation({ state: { info } })), peerUserId: userId };
    this.set(met);
    await this.#store.write({ [`conversation/${met.conversationId}`]: met });
  }

  /** Begins again with this list, after a gap. missed: as events. Returns the changes to the store. */
  async renew(list, missed, cursor) {
    const changes = Object.fromEntries(this.sorted.map(({ conversationId }) => [`conversation/${conversationId}`]));
    // What was recalled or deleted meanwhile is not known.
    for (const stored of await this.#store.list("message/")) changes[keyOf(stored)] = undefined;
    const renewed = list.map((each) => ({ ...each, recalled: this.get(each.conversationId)?.recalled ?? [] }));
    for (const conversation of renewed) changes[`conversation/${conversation.conversationId}`] = conversation;
    for (const { detail } of missed) changes[keyOf(detail)] = detail;
    this.replace(renewed);
    this.cursor = cursor;
    this.version++;
    return changes;
  }

  /** What the event changes in the list. userId: whose list it is. */
  apply(event, userId) {
    const conversation = this.#byId.get(event.conversationId);
    if (event.type === "profileUpdated") this.#rename(event.profile);
    const change = conversation && CHANGES[event.type]?.(conversation, event, userId);
    if (change === REMOVED) this.#byId.delete(event.conversationId);
    else if (change) this.#byId.set(event.conversationId, { ...conversation, ...change });
    this.#sorted = null;
  }

  #rename({ userId, username, nickname, avatar }) {
    const theirs = [...this.#byId.values()].find(({ peerUserId }) => peerUserId === userId);
    if (theirs) this.set({ ...theirs, name: nickname || username, avatar });
  }

  /** The changes to the store that bring it from before the events to after them. userId: whose list it is. */
  async stored(events, userId) {
    const changes = {};
    for (const event of events) {
      const { type, detail, conversationId } = event;
      const conversation = this.#byId.get(conversationId);
      if (type === "messageSent" && conversation) {
        changes[keyOf(detail)] = detail;
        this.#byId.set(conversationId, { ...conversation, stored: (conversation.stored ?? 0) + 1 });
      } else if (type in DETAIL_CHANGES && conversation) await this.#follow(event, changes, userId);
      else if (type === "messageDeleted") {
        changes[`message/${event.messageId}`] = undefined;
        await this.#follow(event, changes, userId);
      } else if (conversationId && !conversation) await this.#forget(conversationId, changes);
      if (conversationId) changes[`conversation/${conversationId}`] = await this.#trimmed(conversationId, changes);
      if (type === "profileUpdated") {
        const theirs = [...this.#byId.values()].find(({ peerUserId }) => peerUserId === event.profile.userId);
        if (theirs) changes[`conversation/${theirs.conversationId}`] = theirs;
      }
    }
    return changes;
  }

  /** What is stored of a message, null if nothing is. */
  async message(messageId) {
    const stored = await this.#store.get(`message/${messageId}`);
    return stored ? toDetail(stored) : null;
  }

  /** What the event changes in messages that are stored: in the one that it is about, and in answers to it. */
  async #follow(event, changes, userId) {
    const now = (stored) => (keyOf(stored) in changes ? changes[keyOf(stored)] : toDetail(stored));
    const isAboutContent = event.type === "messageUpdated" || event.type === "messageDeleted";
    const messageId = event.message?.messageId ?? event.messageId;
    const about = (await this.message(messageId)) ?? changes[`message/${messageId}`];
    const touched = isAboutContent ? await this.#store.list(`message/${event.conversationId}-`) : about ? [about] : [];
    const fresh = Object.entries(changes).filter(([key, detail]) => detail && key.startsWith("message/"));
    for (const stored of [...touched, ...fresh.map(([, detail]) => detail)]) {
      const detail = now(stored);
      const after = detail && detailAfter(detail, event, userId);
      if (after && after !== detail) changes[keyOf(after)] = after;
    }
  }

  async #forget(conversationId, changes) {
    for (const stored of await this.#store.list(`message/${conversationId}-`)) changes[keyOf(stored)] = undefined;
  }

  async #trimmed(conversationId, changes) {
    const conversation = this.#byId.get(conversationId);
    if (!conversation || !(conversation.stored > MAX_STORED)) return conversation;
    const messages = await this.#store.list(`message/${conversationId}-`);
    for (const stored of messages.slice(0, -MAX_STORED / 2)) changes[keyOf(stored)] = undefined;
    const trimmed = { ...conversation, stored: MAX_STORED / 2 };
    this.set(trimmed);
    return trimmed;
  }
}

const REMOVED = Symbol("removed");

/** By type of event: which fields of a conversation change. */
const CHANGES = {
  messageSent(conversation, { message }, userId) {
    const isMine = message.fromUserId === userId;
    const { unreadCount, unreadMentions, settings, mentionsCounted } = conversation;
    const mentions = isMentioned(message, userId) && message.messageId > mentionsCounted;
    return {
      lastMessage: message,
      newest: later(conversation.newest, message.messageId),
      updatedAt: Math.max(conversation.updatedAt, message.createdAt),
      unreadCount: isMine ? 0 : unreadCount + (message.status === RECALLED ? 0 : 1),
      unreadMentions: isMine ? 0 : unreadMentions + Number(mentions),
      settings: isMine && settings.markedUnread ? { ...settings, markedUnread: false } : settings,
      readMessageId: isMine ? message.messageId : conversation.readMessageId,
      peerUserId: conversation.peerUserId || (isMine ? message.toUserId : message.toUserId && message.fromUserId),
    };
  },
  messageUpdated(conversation, { message, before, wasCounted }, userId) {
    const isUnread = message.fromUserId !== userId && message.messageId > conversation.readMessageId;
    const isRecall = message.status === RECALLED && wasCounted;
    return {
      ...(conversation.lastMessage?.messageId === message.messageId && { lastMessage: message }),
      ...(isRecall && isUnread && uncounted(conversation, message)),
      ...(before && isUnread && { unreadMentions: mentionsAfter(conversation, before, message, userId) }),
    };
  },
  messageDeleted(conversation, { messageId, previous = null, before, wasCounted }, userId) {
    const isUnread = messageId > conversation.readMessageId; // one's own are before that
    return {
      ...(conversation.lastMessage?.messageId === messageId && { lastMessage: previous }),
      ...(isUnread && wasCounted && { unreadCount: Math.max(0, conversation.unreadCount - 1) }),
      ...(isUnread && before && { unreadMentions: mentionsAfter(conversation, before, null, userId) }),
    };
  },
  read(conversation, { userId: readerId, messageId, unreadCount, unreadMentions = 0 }, userId) {
    if (readerId !== userId) return { peerReadMessageId: later(conversation.peerReadMessageId, messageId) };
    return { unreadCount, unreadMentions, readMessageId: later(conversation.readMessageId, messageId) };
  },
  conversationSettingsUpdated: (_, { settings }) => ({ settings }),
  delivered({ peerDeliveredMessageId }, { userId: receiverId, messageId }, userId) {
    return receiverId === userId ? {} : { peerDeliveredMessageId: later(peerDeliveredMessageId, messageId) };
  },
  conversationUpdated({ type, name, avatar }, { conversation }) {
    if (type === "single" && !conversation.name) return {}; // it has the name of the other
    return { name: conversation.name || name, avatar: conversation.avatar || avatar };
  },
  conversationHidden: () => REMOVED,
  groupDissolved: () => REMOVED,
  memberLeft: (_, { userId: leaver }, userId) => (leaver === userId ? REMOVED : {}),
  memberUpdated: (_, { member }, userId) => (member.userId === userId ? { role: member.role } : {}),
  groupUpdated: (_, { group }) => ({ name: group.name, avatar: group.avatar }),
};

/** It is remembered: if it is deleted too, and is not stored, nothing else says that it is not counted any more. */
function uncounted({ unreadCount, readMessageId, recalled }, { messageId }) {
  const unread = recalled.filter((each) => each > readMessageId);
  return { unreadCount: Math.max(0, unreadCount - 1), recalled: [...unread, messageId] };
}

/** Unread mentions once a message was changed, or is gone. */
function mentionsAfter({ unreadMentions }, before, after, userId) {
  const change = Number(Boolean(after && isMentioned(after, userId))) - Number(isMentioned(before, userId));
  return Math.max(0, unreadMentions + change);
}

function later(one, other) {
  return one > other ? one : other;
}

/** The number of a message in its conversation: its id ends in it. */
function seqOf(messageId) {
  return Number(messageId.slice(messageId.lastIndexOf("-") + 1));
}

/** Of a message that is stored, in any format. */
function keyOf(stored) {
  return `message/${(stored.message ?? stored).messageId}`;
}

/**
 * json: a ConversationDetail of the contract. newest: of the messages that are known without a gap; counted, mentionsCounted: of
 * those that are in the unread count and the unread mentions of json. recalled: of those, ones that have left the count.
 */
function toConversation(json) {
  const { state, settings, unreadMentions } = fill(CONVERSATION_DETAIL, json);
  const { info, ...positions } = state;
  const newest = info.lastMessage?.messageId ?? "";
  return { ...info, ...positions, settings, unreadMentions, newest, counted: newest, mentionsCounted: newest, recalled: [], stored: 0 };
}
