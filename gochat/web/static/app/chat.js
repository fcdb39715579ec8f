// One conversation: who it is with, its messages, and where one writes.

import { client, html, select, useEffect, useMemo, useRef, useState, useUpdates } from "./ui.js";
import { errorText, t } from "./text.js";
import { Avatar, IconButton } from "./parts.js";
import { isOnline, personOf, presenceText, typingText, usePeople } from "./people.js";
import { requestsOf, requestsText, useGroup } from "./groups.js";
import { Timeline, contentText } from "./timeline.js";
import { linesOf, useLines } from "./lines.js";
import { Row, moveInLog, toRows } from "./chat_rows.js";
import { Rows } from "./rows.js";
import { MessageMenu, copyText } from "./actions.js";
import { EmojiPicker, toggleReaction } from "./reactions.js";
import { MESSAGE_DIALOGS } from "./message_dialogs.js";
import { PinnedBar, PinnedList, usePins } from "./pins.js";
import { ConversationMenu } from "./conversation_menu.js";
import { Composer } from "./composer.js";
import { Details } from "./details.js";

const NOTICE_MS = 5000;

export function Chat({ conversationId }) {
  const [version, update] = useState(0);
  const [timeline, setTimeline] = useState(null);
  const [sends, setSends] = useState(0); // each brings the newest message into sight
  const [opened, setOpened] = useState(null); // a menu or a dialog: { kind, detail, anchor }
  const [draft, setDraft] = useState(null); // what is answered or edited: { kind, detail }
  const [target, setTarget] = useState(null); // the row to go to: { key }
  const [notice, setNotice] = useState(null);
  const isAtEnd = useRef(true);
  const conversation = client.conversation(conversationId);
  useUpdates("conversations", "outbox", "connection");
  usePeople();
  useLines();
  const group = useGroup(conversation);
  const pins = usePins(conversationId);

  useEffect(() => {
    const opened = new Timeline(conversationId, () => update((count) => count + 1));
    setTimeline(opened);
    if (client.conversation(conversationId)?.settings.markedUnread) {
      client.updateSettings(conversationId, { markedUnread: false }).catch(() => {}); // it stays marked
    }
    return () => opened.close();
  }, []);
  useEffect(() => {
    if (conversation?.type === "single" && conversation.peerUserId) client.watchPresence([conversation.peerUserId]);
  }, [conversation?.peerUserId]);
  useEffect(() => {
    const timer = notice && setTimeout(() => setNotice(null), NOTICE_MS);
    return () => clearTimeout(timer);
  }, [notice]);

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
  const details = timeline?.messages ?? [];
  const lines = linesOf(conversationId);
  const rows = useMemo(() => {
    const waiting = client.outbox.filter((entry) => belongs(entry, conversation, conversationId));
    const readMessageId = firstUnread.current;
    return toRows({ details, lines, waiting, conversation, readMessageId, marked: target?.key });
  }, [details, lines, client.outbox, conversation?.type, version, target]);

  const run = (promise, done = "") => promise.then(
    () => done && setNotice({ text: done }),
    (error) => setNotice({ text: errorText(error), isError: true }),
  );
  const close = () => setOpened(null);
  const current = (detail) => (detail && timeline.get(detail.message.messageId)) ?? detail;
  const acts = {
    run,
    menu: (detail, anchor) => setOpened({ kind: "menu", detail, anchor }),
    pick: (detail, anchor) => setOpened({ kind: "picker", detail, anchor }),
    show: (kind, detail) => setOpened({ kind, detail }),
    react: (detail, reaction) => run(toggleReaction(current(detail), reaction)),
    reply: (detail) => setDraft({ kind: "reply", detail }),
    edit: (detail) => setDraft({ kind: "edit", detail }),
    copy: (text) => run(copyText(text), t("copied")),
    async jump(messageId) {
      if (await timeline.find(messageId)) setTarget({ key: messageId });
      else setNotice({ text: t("messageGone"), isError: true });
    },
  };
  if (!conversation && client.connection === "online" && timeline?.error) return html`<${Gone} />`;
  const show = (row) => html`<${Row} row=${row} conversation=${conversation} acts=${acts}
    quote=${row.kind === "message" ? timeline.quoteOf(row.detail) : null} />`;
  const onend = (is) => {
    if (is && !isAtEnd.current) queueMicrotask(read);
    isAtEnd.current = is;
  };
  const editLast = () => {
    const mine = details.findLast(({ message }) => message.fromUserId === client.userId && message.messageType === "text" && message.status < 4);
    if (mine) acts.edit(mine);
  };
  return html`<section class="chat" aria-label=${conversation?.name ?? t("loading")}>
    <${Header} conversation=${conversation} group=${group} onopen=${(kind, anchor) => setOpened({ kind, anchor })} />
    ${conversation && html`<${PinnedBar} pins=${pins} jump=${acts.jump} onlist=${() => setOpened({ kind: "pins" })} />`}
    ${rows.length
      ? html`<${Rows} rows=${rows} show=${show} label=${t("history")} sends=${sends} target=${target} onkeys=${moveInLog}
          onstart=${() => timeline?.older()} onend=${onend} />`
      : html`<p class="quiet blank">${t(timeline?.isLoaded ? "noMessages" : "loading")}</p>`}
    <${Announcer} messages=${details} />
    ${notice && html`<p class=${`toast ${notice.isError ? "error" : ""}`} role=${notice.isError ? "alert" : "status"}>${notice.text}</p>`}
    ${conversation && html`<${Composer} conversation=${conversation} draft=${draft} ondone=${() => setDraft(null)} oneditlast=${editLast}
      onsend=${() => setSends(sends + 1)} />`}
    ${conversation && opened && html`<${Opened} ...${opened} detail=${current(opened.detail)} conversation=${conversation} pins=${pins} acts=${acts} onclose=${close} />`}
  </section>`;
}

/** The menu or the dialog that is open. */
function Opened({ kind, detail, anchor, conversation, pins, acts, onclose }) {
  if (kind === "menu") return html`<${MessageMenu} detail=${detail} anchor=${anchor} conversation=${conversation} acts=${acts} onclose=${onclose} />`;
  if (kind === "picker") return html`<${EmojiPicker} anchor=${anchor} onclose=${onclose} onpick=${(emoji) => acts.react(detail, emoji)} />`;
  if (kind === "pins") return html`<${PinnedList} pins=${pins} conversation=${conversation} jump=${acts.jump} run=${acts.run} onclose=${onclose} />`;
  if (kind === "conversation") return html`<${ConversationMenu} conversation=${conversation} anchor=${anchor} run=${acts.run} onclose=${onclose} />`;
  if (kind === "details") return html`<${Details} conversation=${conversation} onclose=${onclose} />`;
  const Shown = MESSAGE_DIALOGS[kind];
  return html`<${Shown} detail=${detail} onclose=${onclose} />`;
}

function Gone() {
  return html`<section class="chat">
    <header><${IconButton} icon="back" label=${t("back")} class="icon-button back" onClick=${() => select("")} /></header>
    <p class="quiet blank">${t("conversationGone")}</p>
  </section>`;
}

function Header({ conversation, group, onopen }) {
  const { conversationId, name = "", avatar, type, peerUserId } = conversation ?? {};
  const typing = conversation ? typingText(conversation) : "";
  const size = group.members.size;
  const count = size === 1 ? t("oneMember") : size ? t("membersCount", { n: group.nextPageToken ? `${size}+` : size }) : "";
  const state = typing || (type === "single" ? presenceText(peerUserId) : count);
  const requests = conversation ? requestsOf(conversation) : "";
  return html`<header>
    <${IconButton} icon="back" label=${t("back")} class="icon-button back" onClick=${() => select("")} />
    ${conversation && html`<${Avatar} id=${peerUserId || conversationId} name=${name} avatar=${avatar} size="small"
      online=${isOnline(peerUserId)} />
      <div class="names">
        <h1 dir="auto">${name}</h1>
        <small role="status" class=${typing ? "typing" : ""}>${state}</small>
      </div>
      ${requests && html`<button type="button" class="requests" aria-label=${requestsText(requests)} onClick=${() => onopen("details")}>
        <span class="wide">${requestsText(requests)}</span><span class="narrow">${requests}</span></button>`}
      <${IconButton} icon="info" label=${t("details")} onClick=${() => onopen("details")} />
      <${IconButton} icon="more" label=${t("chatMenu")} aria-haspopup="menu" onClick=${({ currentTarget }) => onopen("conversation", currentTarget)} />`}
  </header>`;
}

/** Reads out what comes in, to those who do not see it. */
function Announcer({ messages }) {
  const newest = messages.at(-1)?.message;
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
