// The messages of one conversation: what is stored at once, then what the server has, then what happens.

import { client } from "./ui.js";
import { t } from "./text.js";

const PAGE_SIZE = 50;
const RETRY_MS = 2000;
const SEARCH_PAGE_SIZE = 190;
const MAX_SEARCHED = 20; // pages that are read to find a message
const RECALLED = 4;

/** Has messages with what belongs to them: details. onchange: called after each change. */
export class Timeline {
  #conversationId;
  #onchange;
  #byId = new Map();
  #sorted = [];
  #fetching = null;
  #heard = []; // while it is fetching: the answer may be from before
  #isResting = false;
  #stop = [];
  hasMore = false;
  isLoaded = false;
  error = null;

  constructor(conversationId, onchange) {
    this.#conversationId = conversationId;
    this.#onchange = onchange;
    this.#stop = [
      client.on("event", (event) => this.#hear(event)),
      client.on("sent", (message) => message.conversationId === conversationId && this.#addSent(message)),
      client.on("connection", (connection) => connection === "online" && !this.isLoaded && this.#fetch()),
    ];
    client.storedDetails(conversationId).then((stored) => stored.length && this.#add(stored, false));
    this.#fetch();
  }

  close() {
    this.#stop.forEach((stop) => stop());
  }

  /** Oldest first. */
  get messages() {
    return this.#sorted;
  }

  get(messageId) {
    return this.#byId.get(messageId);
  }

  older() {
    if (this.hasMore && !this.#isResting) this.#fetch(this.#sorted[0].message.messageId);
  }

  /** Reads back as far as this message. Returns whether it is there. */
  async find(messageId) {
    for (let page = 0; page < MAX_SEARCHED && !this.#byId.has(messageId) && this.hasMore; page++) {
      if (this.#sorted[0].message.messageId < messageId) break;
      await this.#fetch(this.#sorted[0].message.messageId, SEARCH_PAGE_SIZE);
      if (this.error) break;
    }
    return this.#byId.has(messageId);
  }

  /** What a message answers, as it is now where that is known; null for none. */
  quoteOf({ reply, message }) {
    return this.#byId.get(message.metadata.reply_to)?.message ?? reply;
  }

  async #fetch(beforeMessageId = "", limit = PAGE_SIZE) {
    while (this.#fetching) {
      if (limit === PAGE_SIZE) return;
      await this.#fetching;
    }
    this.#heard = [];
    this.#fetching = this.#read(beforeMessageId, limit);
    await this.#fetching;
  }

  async #read(beforeMessageId, limit) {
    try {
      const { messages, hasMore } = await client.details(this.#conversationId, { beforeMessageId, limit });
      const oldest = this.#sorted[0]?.message.messageId;
      const isOldest = !oldest || messages.at(-1)?.message.messageId <= oldest;
      this.hasMore = isOldest || beforeMessageId ? hasMore : true;
      this.isLoaded = true;
      this.error = null;
      this.#fetching = null;
      const follow = (detail) => this.#heard.reduce((before, event) => client.detailAfter(before, event), detail);
      const gone = new Set(this.#heard.filter(({ type }) => type === "messageDeleted").map(({ messageId }) => messageId));
      this.#add(messages.reverse().filter(({ message }) => !gone.has(message.messageId)).map(follow));
    } catch (error) {
      this.error = error;
      this.#rest();
      this.#fetching = null;
      this.#onchange();
    }
  }

  /** What failed would fail again at once: with each change the view asks for what is older. */
  #rest() {
    this.#isResting = true;
    setTimeout(() => {
      this.#isResting = false;
      this.#onchange();
    }, RETRY_MS);
  }

  #hear(event) {
    if (event.type === "resync") this.#renew();
    if (event.conversationId !== this.#conversationId) return;
    if (event.type === "messageSent") this.#add([event.detail]);
    else if (event.type === "messageDeleted") this.#delete(event.messageId);
    const isAbout = event.message?.messageId ?? event.messageId;
    if (isAbout && event.type !== "messageSent") this.#follow(event);
    else this.#onchange(); // a position has moved
  }

  #follow(event) {
    if (this.#fetching) this.#heard.push(event);
    for (const [messageId, detail] of this.#byId) this.#byId.set(messageId, client.detailAfter(detail, event));
    this.#sort();
  }

  #delete(messageId) {
    this.#byId.delete(messageId);
  }

  /** What was recalled or deleted while the stream had a gap is not known. */
  #renew() {
    this.#byId.clear();
    this.#sorted = [];
    this.isLoaded = false;
    this.#fetch();
  }

  /** Until its event comes. */
  #addSent(message) {
    if (this.#byId.has(message.messageId)) return;
    const nothing = { editedAt: 0, reply: null, reactions: [], mentionedUserIds: [], mentionsAll: false, pin: null };
    this.#add([{ message, ...nothing, forwarded: null }]);
  }

  /** isNewer: than what is known of the same messages. */
  #add(details, isNewer = true) {
    for (const detail of details) {
      const { messageId } = detail.message;
      if (isNewer || !this.#byId.has(messageId)) this.#byId.set(messageId, detail);
    }
    this.#sort();
  }

  #sort() {
    this.#sorted = [...this.#byId.values()].sort((a, b) => (a.message.messageId < b.message.messageId ? -1 : 1));
    this.#onchange();
  }
}

/** What a list says of a message. */
export function contentText({ status, messageType, content }) {
  if (status === RECALLED) return t("recalled");
  return ["text", "system", ""].includes(messageType) ? content : t("unsupported", { type: messageType });
}

export function isRecalled({ status }) {
  return status === RECALLED;
}
