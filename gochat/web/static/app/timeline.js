// The messages of one conversation: what is stored at once, then what the server has, then what happens.

import { client } from "./ui.js";
import { t } from "./text.js";

const PAGE_SIZE = 50;
const RETRY_MS = 2000;
const RECALLED = 4;

/** onchange: called after each change. */
export class Timeline {
  #conversationId;
  #onchange;
  #byId = new Map();
  #sorted = [];
  #isFetching = false;
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
      client.on("sent", (message) => message.conversationId === conversationId && this.#add([message])),
      client.on("connection", (connection) => connection === "online" && !this.isLoaded && this.#fetch()),
    ];
    client.storedMessages(conversationId).then((stored) => stored.length && this.#add(stored));
    this.#fetch();
  }

  close() {
    this.#stop.forEach((stop) => stop());
  }

  /** Oldest first. */
  get messages() {
    return this.#sorted;
  }

  older() {
    if (this.hasMore && !this.#isResting) this.#fetch(this.#sorted[0].messageId);
  }

  async #fetch(beforeMessageId = "") {
    if (this.#isFetching) return;
    this.#isFetching = true;
    try {
      const { messages, hasMore } = await client.history(this.#conversationId, { beforeMessageId, limit: PAGE_SIZE });
      const isOldest = !this.#sorted.length || messages.at(-1)?.messageId <= this.#sorted[0].messageId;
      this.hasMore = isOldest || beforeMessageId ? hasMore : true;
      this.isLoaded = true;
      this.error = null;
      this.#add(messages.reverse());
    } catch (error) {
      this.error = error;
      this.#rest();
      this.#onchange();
    } finally {
      this.#isFetching = false;
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
    if (event.type === "messageSent" || event.type === "messageUpdated") this.#add([event.message]);
    else if (event.type === "messageDeleted" && this.#byId.delete(event.messageId)) {
      this.#sorted = this.#sorted.filter(({ messageId }) => messageId !== event.messageId);
      this.#onchange();
    } else this.#onchange(); // a position has moved
  }

  /** What was recalled or deleted while the stream had a gap is not known. */
  #renew() {
    this.#byId.clear();
    this.#sorted = [];
    this.isLoaded = false;
    this.#fetch();
  }

  #add(messages) {
    const isNewer = messages.length === 1 && messages[0].messageId > (this.#sorted.at(-1)?.messageId ?? "");
    for (const message of messages) this.#byId.set(message.messageId, message);
    this.#sorted = isNewer
      ? [...this.#sorted, messages[0]]
      : [...this.#byId.values()].sort((a, b) => (a.messageId < b.messageId ? -1 : 1));
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
