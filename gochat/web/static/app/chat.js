// One conversation: who it is with, its messages, and where one writes.

import { client, html, select, useEffect, useMemo, useRef, useState, useUpdates } from "./ui.js";
import { day, errorText, isSameDay, t, time } from "./text.js";
import { Avatar, Icon, IconButton } from "./parts.js";
import { isOnline, know, personOf, presenceText, typingText, usePeople } from "./people.js";
import { Timeline, contentText, isRecalled } from "./timeline.js";
import { Rows } from "./rows.js";
import { Composer } from "./composer.js";
import { Details } from "./details.js";

const GROUPED_MS = 5 * 60_000; // messages of one person within this time belong together
const NAMES = 200; // of members, asked for at once

export function Chat({ conversationId }) {
  const [version, update] = useState(0);
  const [isDetailed, setDetailed] = useState(false);
  const [timeline, setTimeline] = useState(null);
  const [sends, setSends] = useState(0); // each brings the newest message into sight
  const [membersCount, setMembersCount] = useState(0);
  const isAtEnd = useRef(true);
  const conversation = client.conversation(conversationId);
  useUpdates("conversations", "outbox", "connection");
  usePeople();

  useEffect(() => {
    const opened = new Timeline(conversationId, () => update((count) => count + 1));
    setTimeline(opened);
    return () => opened.close();
  }, []);
  useEffect(() => {
    if (conversation?.type === "single" && conversation.peerUserId) client.watchPresence([conversation.peerUserId]);
  }, [conversation?.peerUserId]);
  useEffect(() => {
    if (conversation?.type !== "group") return;
    const load = () => client.members(conversationId, { limit: NAMES }).then(({ members, pagination }) => {
      members.forEach(know);
      setMembersCount(pagination.total);
    }, () => {}); // their names come one by one
    load();
    const isAbout = (event) => event.conversationId === conversationId && event.type.startsWith("member");
    return client.on("event", (event) => isAbout(event) && load());
  }, [conversation?.type]);

  const read = () => {
    const { lastMessage, readMessageId, unreadCount } = client.conversation(conversationId) ?? {};
    const isSeen = isAtEnd.current && document.visibilityState === "visible" && document.hasFocus();
    if (!isSeen || !lastMessage || !(unreadCount > 0 || lastMessage.messageId > readMessageId)) return;
    client.markRead(conversationId, lastMessage.messageId).catch(() => {}); // again with the next message
  };
  useEffect(() => {
    addEventListener("focus", read);
    document.addEventListener("visibilitychange", read);
    return () => {
      removeEventListener("focus", read);
      document.removeEventListener("visibilitychange", read);
    };
  }, []);
  const newestId = conversation?.lastMessage?.messageId;
  useEffect(read, [newestId, client.connection]);

  const firstUnread = useRef(conversation?.unreadCount ? conversation.readMessageId : null);
  const waiting = client.outbox.filter((entry) => belongs(entry, conversation, conversationId));
  const messages = timeline?.messages ?? [];
  const rows = useMemo(
    () => toRows(messages, waiting, conversation, firstUnread.current),
    [messages, client.outbox, conversation?.type, version],
  );
  if (!conversation && client.connection === "online" && timeline?.error) return html`<${Gone} />`;
  const show = (row) => html`<${Row} row=${row} conversation=${conversation} />`;
  const onend = (is) => {
    if (is && !isAtEnd.current) queueMicrotask(read);
    isAtEnd.current = is;
  };
  return html`<section class="chat" aria-label=${conversation?.name ?? t("loading")}>
    <${Header} conversation=${conversation} membersCount=${membersCount} ondetails=${() => setDetailed(true)} />
    ${rows.length
      ? html`<${Rows} rows=${rows} show=${show} label=${t("history")} sends=${sends} onstart=${() => timeline.older()}
          onend=${onend} />`
      : html`<p class="quiet blank">${t(timeline?.isLoaded ? "noMessages" : "loading")}</p>`}
    <${Announcer} messages=${messages} />
    ${conversation && html`<${Composer} conversationId=${conversationId} onsend=${() => setSends(sends + 1)} />`}
    ${isDetailed && conversation && html`<${Details} conversation=${conversation} onclose=${() => setDetailed(false)} />`}
  </section>`;
}

function Gone() {
  return html`<section class="chat">
    <header><${IconButton} icon="back" label=${t("back")} class="icon-button back" onClick=${() => select("")} /></header>
    <p class="quiet blank">${t("conversationGone")}</p>
  </section>`;
}

function Header({ conversation, membersCount, ondetails }) {
  const { conversationId, name = "", avatar, type, peerUserId } = conversation ?? {};
  const typing = conversation ? typingText(conversation) : "";
  const count = membersCount === 1 ? t("oneMember") : membersCount ? t("membersCount", { n: membersCount }) : "";
  const state = typing || (type === "single" ? presenceText(peerUserId) : count);
  return html`<header>
    <${IconButton} icon="back" label=${t("back")} class="icon-button back" onClick=${() => select("")} />
    ${conversation && html`<${Avatar} id=${peerUserId || conversationId} name=${name} avatar=${avatar} size="small"
      online=${isOnline(peerUserId)} />
      <div class="names">
        <h1 dir="auto">${name}</h1>
        <small role="status" class=${typing ? "typing" : ""}>${state}</small>
      </div>
      <${IconButton} icon="info" label=${t("details")} onClick=${ondetails} />`}
  </header>`;
}

/** Reads out what comes in, to those who do not see it. */
function Announcer({ messages }) {
  const newest = messages.at(-1);
  const start = useRef(null);
  start.current ??= newest?.messageId ?? null;
  const isNew = newest && start.current !== null && newest.messageId > start.current && newest.fromUserId !== client.userId;
  return html`<p class="unseen" role="status">
    ${isNew && `${personOf(newest.fromUserId).name}: ${contentText(newest).slice(0, 500)}`}
  </p>`;
}

function belongs(entry, conversation, conversationId) {
  if (entry.conversationId) return entry.conversationId === conversationId;
  return Boolean(conversation?.peerUserId) && entry.toUserId === conversation.peerUserId;
}

/** Days, messages, and what is not sent yet, as rows. */
function toRows(messages, waiting, conversation, readMessageId) {
  const rows = [];
  let before = null;
  const separate = (at) => {
    if (!before || !isSameDay(before.at, at)) rows.push({ key: `day ${at}`, kind: "day", at, floats: true });
  };
  let isNewMarked = readMessageId === null;
  const sent = new Set();
  for (const message of messages) {
    const { messageId: key, createdAt: at, fromUserId } = message;
    separate(at);
    if (!isNewMarked && key > readMessageId && fromUserId !== client.userId) {
      isNewMarked = true;
      rows.push({ key: "new", kind: "new", floats: true });
      before = null;
    }
    const follows = before?.fromUserId === fromUserId && at - before.at < GROUPED_MS && rows.at(-1).kind === "message";
    rows.push({ key, kind: "message", message, follows, isGroup: conversation?.type === "group" });
    before = { at, fromUserId };
    if (fromUserId === client.userId && message.metadata.client_msg_id) sent.add(message.metadata.client_msg_id);
  }
  for (const entry of waiting) {
    if (sent.has(entry.clientMsgId)) continue; // its answer was lost, but it has come
    separate(entry.createdAt);
    before = { at: entry.createdAt, fromUserId: client.userId };
    rows.push({ key: entry.clientMsgId, kind: "waiting", entry });
  }
  return rows;
}

function Row({ row, conversation }) {
  if (row.kind === "day") return html`<p class="day"><span>${day(row.at)}</span></p>`;
  if (row.kind === "new") return html`<p class="day new"><span>${t("newMessages")}</span></p>`;
  if (row.kind === "waiting") return html`<${Waiting} entry=${row.entry} />`;
  const { message, follows, isGroup } = row;
  const isMine = message.fromUserId === client.userId;
  const author = personOf(message.fromUserId);
  const name = isMine ? t("you") : author.name;
  const isNamed = isGroup && !isMine && !follows;
  return html`<article class=${`message ${isMine ? "mine" : ""} ${follows ? "follows" : ""}`}
    aria-label=${`${name}, ${time(message.createdAt)}`}>
    ${isGroup && !isMine && html`<span class="side">
      ${!follows && html`<${Avatar} id=${message.fromUserId} name=${author.name} avatar=${author.avatar} size="tiny" />`}
    </span>`}
    <div class=${`bubble ${isRecalled(message) ? "recalled" : ""}`}>
      ${isNamed && html`<strong dir="auto">${author.name}</strong>`}
      <${Content} text=${contentText(message)} />
      <span class="meta">
        <time datetime=${new Date(message.createdAt).toISOString()}>${time(message.createdAt)}</time>
        ${isMine && !isRecalled(message) && html`<${State} message=${message} conversation=${conversation} />`}
      </span>
    </div>
  </article>`;
}

function State({ message, conversation }) {
  const { type, peerReadMessageId = "", peerDeliveredMessageId = "" } = conversation ?? {};
  const { messageId, status } = message;
  if (type === "single" && (messageId <= peerReadMessageId || status === 3)) {
    return html`<span class="read"><${Icon} name="checks" label=${t("readState")} /></span>`;
  }
  if (type === "single" && (messageId <= peerDeliveredMessageId || status === 2)) {
    return html`<${Icon} name="checks" label=${t("delivered")} />`;
  }
  return html`<${Icon} name="check" label=${t("sent")} />`;
}

function Waiting({ entry }) {
  const { clientMsgId, content, createdAt, state, error } = entry;
  const isFailed = state === "failed";
  return html`<article class="message mine" aria-label=${`${t("you")}, ${t(isFailed ? "failed" : "queued")}`}>
    <div class=${`bubble ${isFailed ? "failed" : "queued"}`}>
      <${Content} text=${content} />
      <span class="meta">
        <time>${time(createdAt)}</time><${Icon} name=${isFailed ? "alert" : "clock"} label=${t(isFailed ? "failed" : "queued")} />
      </span>
    </div>
    ${isFailed && html`<p class="failure" role="alert">
      <span>${errorText(error)}</span>
      <button type="button" class="link" onClick=${() => client.retry(clientMsgId)}>${t("retry")}</button>
      <button type="button" class="link" onClick=${() => client.discard(clientMsgId)}>${t("discard")}</button>
    </p>`}
  </article>`;
}

const LINK = /(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'])/g;

/** Text as it is, whatever it looks like; only web addresses become links. */
function Content({ text }) {
  const parts = text.split(LINK);
  return html`<div class="content" dir="auto">${parts.map((part, index) =>
    index % 2 ? html`<a href=${part} target="_blank" rel="noopener noreferrer">${part}</a>` : part)}</div>`;
}
