const STATE_PAGE_SIZE = 500;
const DETAILS_PAGE_SIZE = 200;
const MISSED_PAGE_SIZE = 200;
const READY_TIMEOUT_MS = 20_000;
const HEARTBEATS_MISSED = 2.5;
const MAX_WATCHED = 200; // users of one stream
const ACKNOWLEDGE_AFTER_MS = 200;
const MAX_ACKNOWLEDGED = 100;
const LIST_PAGE_SIZE = 100;

/** The one stream of a user on this device: keeps it open, fills gaps, and has the events in order and once. */
class Stream {
  #transport;
  #session;
  #conversations;
  #watched = [];
  #subscribed = new Set();
  #stopping = new AbortController();
  #connection = new AbortController();
  #pause = new Pause();
  #isGuessing = false; // how long to wait, as nobody has said it
  #received = new Map(); // by conversation, the newest message that is not acknowledged
  #acknowledging = false;
  #listed = new Map(); // the user's list as far as it was read for the present batch, by conversation
  /** Called with "connecting", "online" and "offline". */
  onconnection = () => {};
  /** Called with events, and the cursor after them. */
  onevents = async () => {};
  /** Called with all conversations, the messages that were missed as events, and the cursor after them. */
  onstate = async () => {};

  constructor(transport, session, conversations) {
    this.#transport = transport;
    this.#session = session;
    this.#conversations = conversations;
  }

  /** Until stop(), or until nobody is signed in any more. */
  async run() {
    const { signal } = this.#stopping;
    let attempt = 0;
    while (!signal.aborted) {
      let wait = 0;
      try {
        this.onconnection("connecting");
        await this.#session.token(); // says whose the cursor is
        if (!this.#conversations.cursor) await this.#readState();
        wait = await this.#listen(() => (attempt = 0));
      } catch (error) {
        if (signal.aborted) return;
        if (error.code === "unauthenticated") return;
        if (error.code === "invalid_argument") this.#conversations.cursor = "";
        if (!(error instanceof ChatError)) console.error(error);
        this.#isGuessing = !error.retryAfterMs;
        wait = error.retryAfterMs || backoff(attempt++);
      }
      if (signal.aborted) return;
      if (wait > 0) {
        this.onconnection("offline");
        await this.#pause.wait(wait);
      }
      this.#isGuessing = false;
    }
  }

  stop() {
    this.#stopping.abort();
    this.reconnect();
  }

  /** At once: the network may be back, or others are to be watched. */
  reconnect() {
    this.#connection.abort();
    this.#pause.wake();
  }

  /** Ends a wait, and leaves a stream that is open as it is. */
  hurry() {
    this.#pause.wake();
  }

  /** A call was answered: the server is back. */
  noteAnswer() {
    if (this.#isGuessing) this.#pause.wake();
  }

  /** Has the stream tell of the presence of these too, the first of them if they are too many. */
  watch(userIds) {
    this.#watched = [...new Set([...userIds, ...this.#watched])].slice(0, MAX_WATCHED);
    if (userIds.some((userId) => !this.#subscribed.has(userId))) this.reconnect();
  }

  #watching() {
    const peers = this.#conversations.sorted.map(({ peerUserId }) => peerUserId).filter(Boolean);
    return [...new Set([...this.#watched, ...peers.slice(0, MAX_WATCHED)])].slice(0, MAX_WATCHED);
  }

  /** Returns how long to wait before the next stream. */
  async #listen(onready) {
    const connection = (this.#connection = new AbortController());
    const token = await this.#session.token();
    const presenceUserIds = this.#watching();
    this.#subscribed = new Set(presenceUserIds);
    const request = { cursor: this.#conversations.cursor, typing: true, presenceUserIds };
    let isSilent = false;
    let timer;
    let patience = READY_TIMEOUT_MS;
    const watch = () => {
      timer = setTimeout(() => {
        isSilent = true;
        connection.abort();
      }, patience);
    };
    watch();
    try {
      const options = { token, signal: AbortSignal.any([connection.signal, this.#stopping.signal]) };
      for await (const response of this.#transport.stream(`${EVENTS_SERVICE}/Subscribe`, request, options)) {
        if (connection.signal.aborted) return 0;
        clearTimeout(timer); // handling it may take long
        if (response.ready) {
          patience = HEARTBEATS_MISSED * 1000 * (response.ready.heartbeatSeconds ?? 25);
          onready();
          this.onconnection("online");
        }
        if (response.goodbye) return await this.#leave(response.goodbye, token);
        if (response.resync) await this.#readState(response.cursor);
        else await this.#take(response);
        watch();
      }
      throw new ChatError("unavailable", "the stream ended");
    } catch (error) {
      if (error.code === "canceled" && !isSilent) return 0;
      if (error.code !== "unauthenticated") throw error;
      await this.#session.token(token); // throws when there is no other
      return 0;
    } finally {
      clearTimeout(timer);
      connection.abort();
    }
  }

  async #leave({ reason, retryAfterMs = 0 }, token) {
    if (reason === "REASON_SESSION_ENDED") await this.#session.token(token);
    // A stream of another device of the user took its place. To take one back at once would go on for ever.
    if (reason === "REASON_REPLACED") return MAX_BACKOFF_MS;
    return Number(retryAfterMs) || 1;
  }

  async #take({ batch, cursor }) {
    const events = [];
    this.#listed.clear();
    for (const json of batch?.events ?? []) {
      const event = toEvent(json);
      if (event) await this.#collect(event, events);
    }
    if (!events.length && !cursor) return;
    await this.onevents(events, cursor);
    this.#acknowledge(events);
  }

  /** Adds the event and what must come before it; nothing for a message that came already. */
  async #collect(event, events) {
    const { type, conversationId } = event;
    let conversation = this.#conversations.get(conversationId);
    const isNew = !conversation && ["messageSent", "conversationUpdated"].includes(type);
    if (isNew && (conversation = await this.#read(conversationId))) {
      // What is in it already comes as events, if it is news. If one has made it oneself, it may be known by now.
      const known = this.#conversations.get(conversationId);
      const news = { newest: "", counted: "", mentionsCounted: "", unreadCount: 0, unreadMentions: 0 };
      this.#conversations.set(known ?? { ...conversation, ...news });
    }
    if (type === "messageSent") {
      const { messageId } = event.message;
      const newest = newestOf(events, conversationId) || conversation?.newest || "";
      if (newest >= messageId && !isNew) return;
      if (newest && !isNew && seqOf(messageId) > seqOf(newest) + 1) {
        events.push(...(await this.#missed(conversationId, newest, messageId)));
      }
      event.detail = await this.#detail(event.message);
    }
    if (type === "messageDeleted" && conversation?.lastMessage?.messageId === event.messageId) {
      event.previous = await this.#newestMessage(conversationId);
    }
    if (conversation && ["messageUpdated", "messageDeleted"].includes(type)) {
      const messageId = event.messageId ?? event.message.messageId;
      const inHand = events.findLast(({ message }) => message?.messageId === messageId)?.message;
      event.before = inHand ?? (await this.#conversations.message(messageId))?.message ?? null;
      // Was it among the unread, unless it was read? Not if it was recalled, nor if it has never come.
      const { counted, recalled } = conversation;
      event.wasCounted = event.before ? event.before.status !== RECALLED : messageId <= counted && !recalled.includes(messageId);
    }
    if (type === "read" && event.unreadCount && conversation?.unreadMentions) {
      const json = await this.#session.call(`${CONVERSATIONS}/GetConversation`, { conversationId }).catch(ifGone({}));
      event.unreadMentions = json.conversation?.unreadMentions ?? 0;
    }
    events.push(event);
  }

  /** What a message refers to is not in the event. */
  async #detail(message) {
    const { reply_to: replyTo, forwarded_from: forwardedFrom } = message.metadata;
    if (!replyTo && !forwardedFrom) return toDetail(message);
    const { messageId } = message;
    const json = await this.#session.call(`${MESSAGES}/GetMessage`, { messageId }).catch(ifGone({}));
    return json.message ? fill(DETAIL, json.message) : toDetail(message);
  }

  /** The messages after one, and before another if it is named, as events. */
  async #missed(conversationId, afterMessageId, beforeMessageId = "\uffff") {
    const events = [];
    for (;;) {
      const request = { conversationId, afterMessageId, limit: MISSED_PAGE_SIZE };
      const { messages = [], hasMore } = await this.#session.call(`${MESSAGES}/ListMessages`, request).catch(ifGone({}));
      for (const json of messages) {
        const detail = fill(DETAIL, json);
        const { message } = detail;
        if (message.messageId >= beforeMessageId) return events;
        const { createdAt: at, fromUserId: actorId } = message;
        events.push({ type: "messageSent", at, conversationId, actorId, message, detail });
        afterMessageId = message.messageId;
      }
      if (!hasMore) return events;
    }
  }

  async #newestMessage(conversationId) {
    const request = { conversationId, limit: 1 };
    const { messages } = await this.#session.call(`${LOGIC}/GetMessageHistory`, request).catch(ifGone({}));
    return messages?.length ? fill(MESSAGE, messages[0]) : null;
  }

  /** A conversation that one has come into; null if it is gone again. */
  async #read(conversationId) {
    for (let page = 1; !this.#listed.has(conversationId); page++) {
      const request = { pagination: { page, limit: LIST_PAGE_SIZE } };
      const { conversations = [] } = await this.#session.call(`${LOGIC}/GetConversations`, request);
      for (const each of conversations) this.#listed.set(each.conversationId, each);
      if (conversations.length < LIST_PAGE_SIZE) break;
    }
    const info = this.#listed.get(conversationId);
    if (!info) return null;
    const json = await this.#session.call(`${CONVERSATIONS}/GetConversation`, { conversationId }).catch(ifGone({}));
    return json.conversation ? toConversation(json.conversation) : null;
  }

  /** All conversations as they are now, and after a gap what was missed in them. cursor: from which the stream goes on. */
  async #readState(cursor) {
    const states = [];
    let pageToken = "";
    let stateCursor;
    do {
      const page = await this.#session.call(`${EVENTS_SERVICE}/GetState`, { pageToken, limit: STATE_PAGE_SIZE });
      states.push(...(page.conversations ?? []));
      pageToken = page.nextPageToken ?? "";
      stateCursor ??= page.cursor;
    } while (pageToken);
    const details = await this.#details(); // after the cursor, so that no change of them is missed
    const list = states.map((state) => withDetail(state, details.get(state.info?.conversationId)));
    const missed = [];
    const isFirst = this.#conversations.version === 0;
    for (const { conversationId, type, readMessageId, newest } of isFirst ? [] : list) {
      const known = this.#conversations.get(conversationId);
      // In a group that one has joined meanwhile, what was before is no news.
      const from = known ? known.newest : type === "group" ? readMessageId : "";
      if (newest > from) missed.push(...(await this.#missed(conversationId, from)));
    }
    await this.onstate(list, missed, cursor ?? stateCursor);
    this.#acknowledge(list.filter(({ unreadCount }) => unreadCount).map(({ lastMessage: message }) => ({
      type: "messageSent", message,
    })));
  }

  /** What a state lacks, by conversation. */
  async #details() {
    const details = new Map();
    let pageToken = "";
    do {
      const request = { pageToken, limit: DETAILS_PAGE_SIZE };
      const page = await this.#session.call(`${CONVERSATIONS}/ListConversations`, request);
      for (const detail of page.conversations ?? []) details.set(detail.state.info.conversationId, detail);
      pageToken = page.nextPageToken ?? "";
    } while (pageToken);
    return details;
  }

  /** Says that messages of one-to-one conversations have been received. */
  async #acknowledge(events) {
    for (const { type, message } of events) {
      const isForMe = type === "messageSent" && message?.toUserId && message.fromUserId !== this.#session.userId;
      if (isForMe) this.#received.set(message.conversationId, message.messageId);
    }
    if (this.#acknowledging) return;
    this.#acknowledging = true;
    while (this.#received.size) {
      await new Promise((resolve) => setTimeout(resolve, ACKNOWLEDGE_AFTER_MS));
      const batch = [...this.#received].slice(0, MAX_ACKNOWLEDGED);
      for (const [conversationId] of batch) this.#received.delete(conversationId);
      const messageIds = batch.map(([, messageId]) => messageId);
      // What is lost here is said with the next message, or when it is read.
      await this.#session.call(`${EVENTS_SERVICE}/Acknowledge`, { messageIds }).catch(() => {});
    }
    this.#acknowledging = false;
  }
}

/** detail: of the same conversation, read a little later. */
function withDetail(state, detail) {
  const mentionsCounted = detail?.state.info.lastMessage?.messageId ?? "";
  return { ...toConversation({ ...detail, state }), mentionsCounted };
}

/** For calls about a conversation that one may have left meanwhile. */
function ifGone(value) {
  return (error) => {
    if (["not_found", "permission_denied"].includes(error.code)) return value;
    throw error;
  };
}

function newestOf(events, conversationId) {
  const isIts = (event) => event.type === "messageSent" && event.conversationId === conversationId;
  return events.findLast(isIts)?.message.messageId;
}
