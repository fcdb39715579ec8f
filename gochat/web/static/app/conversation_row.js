// One conversation in the list of them.

import { client, html } from "./ui.js";
import { shortDay, t } from "./text.js";
import { Avatar, Icon, IconButton } from "./parts.js";
import { isOnline, typingText } from "./people.js";
import { nameOf, requestsOf, requestsText } from "./groups.js";
import { contentText } from "./timeline.js";
import { isMuted } from "./conversation_menu.js";
import { onLongPress } from "./menu.js";

/** onmenu(anchor): opens what one can do with it. */
export function ConversationRow({ conversation, isSelected, isFirst, onmenu }) {
  const { conversationId, name, avatar, peerUserId, lastMessage, updatedAt, settings } = conversation;
  const typing = typingText(conversation);
  return html`<div class="conversation" ...${onLongPress(onmenu)}>
    <${Avatar} id=${peerUserId || conversationId} name=${name} avatar=${avatar} online=${isOnline(peerUserId)} />
    <a href=${`#/c/${conversationId}`} dir="auto" aria-current=${isSelected ? "page" : undefined}
      tabindex=${isSelected || isFirst ? 0 : -1}>${name}</a>
    <span class="when">
      ${settings.pinnedAt > 0 && html`<${Icon} name="pin" label=${t("pinnedState")} />`}
      ${isMuted(conversation) && html`<${Icon} name="muted" label=${t("muted")} />`}
      <time>${lastMessage ? shortDay(updatedAt) : ""}</time>
    </span>
    ${typing
      ? html`<span class="typing">${typing}</span>`
      : html`<span class="snippet" dir="auto">${snippet(conversation)}</span>`}
    <${Badges} conversation=${conversation} />
    <${IconButton} icon="more" label=${t("optionsFor", { name })} class="icon-button row-menu" aria-haspopup="menu"
      tabindex=${isSelected || isFirst ? 0 : -1} onClick=${({ currentTarget }) => onmenu(currentTarget)} />
  </div>`;
}

function Badges({ conversation }) {
  const { unreadCount, unreadMentions, settings } = conversation;
  const kind = isMuted(conversation) ? "unread calm" : "unread";
  const requests = requestsOf(conversation);
  return html`<span class="badges">
    ${requests && html`<span class="unread asking" role="img" aria-label=${requestsText(requests)} title=${requestsText(requests)}>
      <${Icon} name="join" />${requests}</span>`}
    ${unreadMentions > 0 && html`<span class="unread" role="img" aria-label=${t(unreadMentions === 1 ? "oneMention" : "mentionsCount", { n: unreadMentions })}>@</span>`}
    ${unreadCount > 0
      ? html`<span class=${kind} role="img" aria-label=${t("unread", { n: unreadCount })}>${unreadCount > 999 ? "999+" : unreadCount}</span>`
      : settings.markedUnread && html`<span class=${`${kind} blank`} role="img" aria-label=${t("markedUnread")} />`}
  </span>`;
}

function snippet({ type, lastMessage, conversationId }) {
  if (!lastMessage) return "";
  const text = contentText(lastMessage).slice(0, 200);
  if (lastMessage.fromUserId === client.userId) return `${t("you")}: ${text}`;
  const author = type === "group" && nameOf(lastMessage.fromUserId, conversationId);
  return author ? `${author}: ${text}` : text;
}
