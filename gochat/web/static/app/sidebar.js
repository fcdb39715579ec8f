// The conversations, the latest first, and what one can do beside them.

import { client, html, useState, useUpdates } from "./ui.js";
import { shortDay, t } from "./text.js";
import { Avatar, FixedList, IconButton } from "./parts.js";
import { isOnline, personOf, typingText, usePeople } from "./people.js";
import { contentText } from "./timeline.js";
import { NewChat, NewGroup } from "./new.js";
import { Settings } from "./settings.js";

const ROW_HEIGHT = 72;
const DIALOGS = { newChat: NewChat, newGroup: NewGroup, settings: Settings };

export function Sidebar({ selected }) {
  const [filter, setFilter] = useState("");
  const [dialog, setDialog] = useState("");
  useUpdates("conversations", "profile", "outbox");
  usePeople();
  const wanted = filter.trim().toLocaleLowerCase();
  const all = client.conversations;
  const shown = wanted ? all.filter(({ name }) => name.toLocaleLowerCase().includes(wanted)) : all;
  const Opened = DIALOGS[dialog];
  const me = personOf(client.userId);
  return html`<nav class="sidebar" aria-label=${t("chats")}>
    <header>
      <div class="me">
        <${Avatar} id=${client.userId} name=${me.name} avatar=${me.avatar} size="small" />
        <strong dir="auto">${me.name}</strong>
      </div>
      <${IconButton} icon="settings" label=${t("settings")} onClick=${() => setDialog("settings")} />
      <${IconButton} icon="group" label=${t("newGroup")} onClick=${() => setDialog("newGroup")} />
      <${IconButton} icon="edit" label=${t("newChat")} onClick=${() => setDialog("newChat")} />
    </header>
    <input class="filter" type="search" aria-label=${t("filter")} placeholder=${t("filter")} value=${filter}
      onInput=${({ target }) => setFilter(target.value)} />
    <${FixedList} label=${t("conversations")} items=${shown} height=${ROW_HEIGHT}
      keyOf=${({ conversationId }) => conversationId}
      row=${(conversation, index) => html`<${Row} conversation=${conversation} isFirst=${index === 0}
        isSelected=${conversation.conversationId === selected} />`}
      empty=${wanted ? html`<p class="quiet">${t("noMatch")}</p>` : html`<${Nobody} onstart=${() => setDialog("newChat")} />`} />
    ${Opened && html`<${Opened} onclose=${() => setDialog("")} />`}
  </nav>`;
}

function Nobody({ onstart }) {
  if (client.connection !== "online") return html`<p class="quiet">${t("loading")}</p>`;
  return html`<div class="nobody">
    <h2>${t("noConversations")}</h2>
    <p class="quiet">${t("noConversationsHint")}</p>
    <button type="button" class="primary" onClick=${onstart}>${t("newChat")}</button>
  </div>`;
}

function Row({ conversation, isSelected, isFirst }) {
  const { conversationId, name, avatar, peerUserId, unreadCount, lastMessage, updatedAt } = conversation;
  const typing = typingText(conversation);
  return html`<div class="conversation">
    <${Avatar} id=${peerUserId || conversationId} name=${name} avatar=${avatar} online=${isOnline(peerUserId)} />
    <a href=${`#/c/${conversationId}`} dir="auto" aria-current=${isSelected ? "page" : undefined}
      tabindex=${isSelected || isFirst ? 0 : -1}>${name}</a>
    <time>${lastMessage ? shortDay(updatedAt) : ""}</time>
    ${typing
      ? html`<span class="typing">${typing}</span>`
      : html`<span class="snippet" dir="auto">${snippet(conversation)}</span>`}
    ${unreadCount > 0 && html`<span class="unread" role="img" aria-label=${t("unread", { n: unreadCount })}>
      ${unreadCount > 999 ? "999+" : unreadCount}
    </span>`}
  </div>`;
}

function snippet({ type, lastMessage }) {
  if (!lastMessage) return "";
  const text = contentText(lastMessage).slice(0, 200);
  if (lastMessage.fromUserId === client.userId) return `${t("you")}: ${text}`;
  const author = type === "group" && personOf(lastMessage.fromUserId).name;
  return author ? `${author}: ${text}` : text;
}
