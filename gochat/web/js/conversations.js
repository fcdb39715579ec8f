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
    const { cursor = "", version = 0 } = (await this.#store.get("position")) ?? {};
    Object.assign(this, { cursor, version });
    this.replace(await this.#store.list("conversation/"));
  }

  replace(list) {
    this.#byId = new Map(list.map((conversation) => [conversation.conversationId, conversation]));
    this.#sorted = null;
  }

  get(conversationId) {
    return this.#byId.get(conversationId);
  }

  /** The latest activity first. */
  get sorted() {
    this.#sorted ??= [...this.#byId.values()].sort((a, b) => b.updatedAt - a.updatedAt);
    return this.#sorted;
  }

  set(conversation) {
    this.#byId.set(conversation.conversationId, conversation);
    this.#sorted = null;
  }

  /** conversation: one that has just been made with the user of this profile. */
  async meet(conversation, { userId, nickname, username, avatar }) {
    const info = { ...conversation, name: conversation.name || nickname || username, avatar, lastMessage: null };
    const met = { ...(this.get(conversation.conversationId) ?? toConversation({ info })), peerUserId: userId };
    this.set(met);
    await this.#store.write({ [`conversation/${met.conversationId}`]: met });
  }

  /** Begins again with this list, after a gap. missed: as events. Returns the changes to the store. */
  async renew(list, missed, cursor) {
    const changes = Object.fromEntries(this.sorted.map(({ conversationId }) => [`conversation/${conversationId}`]));
    // What was recalled or deleted meanwhile is not known.
    for (const { messageId } of await this.#store.list("message/")) changes[`message/${messageId}`] = undefined;
    for (const conversation of list) changes[`conversation/${conversation.conversationId}`] = conversation;
    for (const { message } of missed) changes[`message/${message.messageId}`] = message;
    this.replace(list);
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

  /** The changes to the store that bring it from before the events to after them. */
  async stored(events) {
    const changes = {};
    for (const event of events) {
      const { type, message, conversationId } = event;
      const conversation = this.#byId.get(conversationId);
      if (type === "messageSent" && conversation) {
        changes[`message/${message.messageId}`] = message;
        this.#byId.set(conversationId, { ...conversation, stored: (conversation.stored ?? 0) + 1 });
      } else if (type === "messageUpdated" && conversation) changes[`message/${message.messageId}`] = message;
      else if (type === "messageDeleted") changes[`message/${event.messageId}`] = undefined;
      else if (conversationId && !conversation) await this.#forget(conversationId, changes);
      if (conversationId) changes[`conversation/${conversationId}`] = await this.#trimmed(conversationId, changes);
      if (type === "profileUpdated") {
        const theirs = [...this.#byId.values()].find(({ peerUserId }) => peerUserId === event.profile.userId);
        if (theirs) changes[`conversation/${theirs.conversationId}`] = theirs;
      }
    }
    return changes;
  }

  /** As it is stored. */
  async message(messageId) {
    return this.#store.get(`message/${messageId}`);
  }

  async #forget(conversationId, changes) {
    for (const { messageId } of await this.#store.list(`message/${conversationId}-`)) {
      changes[`message/${messageId}`] = undefined;
    }
  }

  async #trimmed(conversationId, changes) {
    const conversation = this.#byId.get(conversationId);
    if (!conversation || !(conversation.stored > MAX_STORED)) return conversation;
    const messages = await this.#store.list(`message/${conversationId}-`);
    for (const { messageId } of messages.slice(0, -MAX_STORED / 2)) changes[`message/${messageId}`] = undefined;
    const trimmed = { ...conversation, stored: MAX_STORED / 2 };
    this.set(trimmed);
    return trimmed;
  }
}

const REMOVED = Symbol("removed");
const RECALLED = 4;

/** By type of event: which fields of a conversation change. */
const CHANGES = {
  messageSent(conversation, { message }, userId) {
    const isMine = message.fromUserId === userId;
    return {
      lastMessage: message,
      newest: later(conversation.newest, message.messageId),
      updatedAt: Math.max(conversation.updatedAt, message.createdAt),
      unreadCount: isMine ? 0 : conversation.unreadCount + (message.status === RECALLED ? 0 : 1),
      readMessageId: isMine ? message.messageId : conversation.readMessageId,
      peerUserId: conversation.peerUserId || (isMine ? message.toUserId : message.toUserId && message.fromUserId),
    };
  },
  messageUpdated(conversation, { message, wasCounted }, userId) {
    const isUnread = message.fromUserId !== userId && message.messageId > conversation.readMessageId;
    return {
      ...(conversation.lastMessage?.messageId === message.messageId && { lastMessage: message }),
      ...(message.status === RECALLED && isUnread && wasCounted && { unreadCount: Math.max(0, conversation.unreadCount - 1) }),
    };
  },
  messageDeleted(conversation, { messageId, previous = null, wasCounted }) {
    const isUnread = messageId > conversation.readMessageId && wasCounted; // one's own are before that
    return {
      ...(conversation.lastMessage?.messageId === messageId && { lastMessage: previous }),
      ...(isUnread && { unreadCount: Math.max(0, conversation.unreadCount - 1) }),
    };
  },
  read(conversation, { userId: readerId, messageId, unreadCount }, userId) {
    if (readerId !== userId) return { peerReadMessageId: later(conversation.peerReadMessageId, messageId) };
    return { unreadCount, readMessageId: later(conversation.readMessageId, messageId) };
  },
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

function later(one, other) {
  return one > other ? one : other;
}

/** The number of a message in its conversation: its id ends in it. */
function seqOf(messageId) {
  return Number(messageId.slice(messageId.lastIndexOf("-") + 1));
}

/**
 * json: a ConversationState of the contract. newest: of the messages that are known without a gap; counted: of those
 * that are in the unread count of json.
 */
function toConversation(json) {
  const { info, ...positions } = fill(STATE, json);
  const newest = info.lastMessage?.messageId ?? "";
  return { ...info, ...positions, newest, counted: newest, stored: 0 };
}
