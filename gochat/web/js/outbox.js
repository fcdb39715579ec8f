/** Messages that are not sent yet, in the order in which they were written. They survive a reload where the store does. */
class Outbox {
  #store;
  #session;
  #entries = [];
  #pumping = false;
  #pause = new Pause();
  /** Only one tab sends. */
  isSending = false;
  /** Called with the entries after each change, and with what became of one. */
  onchange = () => {};
  onsettled = () => {};

  constructor(store, session) {
    this.#store = store;
    this.#session = session;
  }

  get entries() {
    return this.#entries;
  }

  /** Reads what another tab has changed, or this one before a reload. */
  async load() {
    this.#entries = await this.#store.list("outbox/");
    this.pump();
  }

  async add(message) {
    const { conversationId = "", toUserId = "", content, messageType = "text" } = message;
    const metadata = { ...message.metadata, ...references(message) };
    const { clientMsgId = randomId() } = message;
    const createdAt = Math.max(Date.now(), (this.#entries.at(-1)?.createdAt ?? 0) + 1); // which is the order
    const key = `outbox/${String(createdAt).padStart(15, "0")}-${clientMsgId}`;
    const send = { conversationId, toUserId, content, messageType, metadata, clientMsgId };
    const entry = { key, ...send, createdAt, state: "queued", error: null };
    await this.#put(entry);
    this.pump();
    return entry;
  }

  /** Sends one again that failed. */
  async retry(clientMsgId) {
    const entry = this.#find(clientMsgId);
    if (entry) await this.#put({ ...entry, state: "queued", error: null });
    this.pump();
  }

  /** Forgets one that failed. */
  async discard(clientMsgId) {
    const entry = this.#find(clientMsgId);
    if (entry) await this.#remove(entry);
  }

  stop() {
    this.isSending = false;
    this.#pause.wake();
  }

  /** Sends what is queued, one after the other, until nothing is left; again after a while where the server is away. */
  async pump() {
    this.#pause.wake();
    if (this.#pumping || !this.isSending) return;
    this.#pumping = true;
    let attempt = 0;
    try {
      for (;;) {
        const entry = this.#entries.find(({ state }) => state === "queued");
        if (!entry || !this.isSending) return;
        const error = await this.#send(entry).then(() => null, (failed) => failed);
        if (!this.isSending) return;
        if (!error) attempt = 0;
        else if (error.code === "unauthenticated") return; // goes on after signing in
        else if (!error.transient || error.reason === "SLOW_MODE") { // which would hold up all others for long
          await this.#put({ ...entry, state: "failed", error: plain(error) });
          this.onsettled(entry, null, error);
        } else await this.#pause.wait(error.retryAfterMs || backoff(attempt++));
      }
    } finally {
      this.#pumping = false;
    }
  }

  async #send(entry) {
    const { conversationId, toUserId, content, messageType, clientMsgId } = entry;
    const metadata = { ...entry.metadata, client_msg_id: clientMsgId };
    const to = conversationId ? { conversationId } : { toUserId };
    const request = { ...to, content, messageType, metadata };
    const sent = fill({ messageId: "", createdAt: 0 }, await this.#session.call(`${LOGIC}/SendMessage`, request));
    const message = toMessage(entry, sent, this.#session.userId);
    // As a message it is there until its event comes, which a server that dies may keep for long.
    await this.#remove(entry, { [`message/${message.messageId}`]: toDetail(message) }, () => this.onsettled(entry, message, null));
  }

  #find(wanted) {
    return this.#entries.find(({ clientMsgId }) => clientMsgId === wanted);
  }

  async #put(entry) {
    // Not into a store that may be another's: they would send it. Nor on a full disk: until the page is closed.
    if (this.#session.isNamed) await this.#store.write({ [entry.key]: entry }).catch(console.warn);
    const others = this.#entries.filter(({ key }) => key !== entry.key);
    this.#entries = [...others, entry].sort((a, b) => (a.key < b.key ? -1 : 1));
    this.onchange();
  }

  async #remove({ key }, changes = {}, then = () => {}) {
    await this.#store.write({ [key]: undefined, ...changes });
    this.#entries = this.#entries.filter((entry) => entry.key !== key);
    then();
    this.onchange();
  }
}

/** What a message refers to, as its metadata says it. mentions: user ids, or "all". */
function references({ replyTo, mentions, forwardedFrom }) {
  return {
    ...(replyTo && { reply_to: replyTo }),
    ...(mentions?.length && { mentions: String(mentions) }),
    ...(forwardedFrom && { forwarded_from: forwardedFrom }),
  };
}

/** The message that was sent, as the server will list it. */
function toMessage({ clientMsgId, toUserId, content, messageType, metadata }, { messageId, createdAt }, fromUserId) {
  return {
    ...{ messageId, conversationId: messageId.slice(0, messageId.lastIndexOf("-")), fromUserId, toUserId, content },
    ...{ messageType, status: 1, metadata: { ...metadata, client_msg_id: clientMsgId } },
    ...{ createdAt, updatedAt: createdAt },
  };
}

/** An error as it can be stored. */
function plain({ code, reason, message, fields, details, retryAfterMs }) {
  return { code, reason, message, fields, details, retryAfterMs };
}
