// One message, as a row of its conversation.

import { client, html } from "./ui.js";
import { t, time } from "./text.js";
import { Avatar, Icon, IconButton } from "./parts.js";
import { personOf } from "./people.js";
import { groupOf, isManager, nameOf } from "./groups.js";
import { contentText, isRecalled } from "./timeline.js";
import { onLongPress } from "./menu.js";
import { Reactions } from "./reactions.js";
import { Content } from "./content.js";

/** acts: what the conversation does for its messages: menu, pick, react, reply, jump, show. quote: what it answers. */
export function Message({ row, quote, conversation, acts }) {
  const { detail, follows, isGroup, isMarked } = row;
  const { message, reactions, pin } = detail;
  const isMine = message.fromUserId === client.userId;
  const { avatar } = personOf(message.fromUserId);
  const author = nameOf(message.fromUserId, message.conversationId);
  const recalled = isRecalled(message);
  const open = (anchor) => acts.menu(detail, anchor);
  const onkeydown = (event) => {
    if (event.target !== event.currentTarget || (event.key !== "Enter" && event.key !== "ContextMenu")) return;
    event.preventDefault();
    open(event.currentTarget.querySelector(".bubble"));
  };
  const kind = [isMine && "mine", follows && "follows", reactions.length && "reacted", isMarked && "marked"];
  return html`<article class=${`message ${kind.filter(Boolean).join(" ")}`} tabindex="-1" onKeyDown=${onkeydown}
    aria-label=${`${isMine ? t("you") : author}, ${time(message.createdAt)}`}>
    ${isGroup && !isMine && html`<span class="side">
      ${!follows && html`<${Avatar} id=${message.fromUserId} name=${author} avatar=${avatar} size="tiny" />`}
    </span>`}
    <div class="holder">
      <div class=${`bubble ${recalled ? "recalled" : ""} ${isForMe(detail) ? "for-me" : ""}`} ...${onLongPress(open)}>
        ${isGroup && !isMine && !follows && html`<${Author} message=${message} name=${author} />`}
        ${detail.forwarded && html`<p class="origin"><${Icon} name="forward" />
          <span dir="auto">${t("forwardedFrom", { name: personOf(detail.forwarded.fromUserId).name })}</span></p>`}
        ${quote && !recalled && html`<${Quote} quote=${quote} conversation=${conversation} jump=${acts.jump} />`}
        <${Content} text=${contentText(message)} mentions=${recalled ? [] : mentionsOf(detail)} />
        <span class="meta">
          ${pin && html`<${Icon} name="pin" label=${t("pinnedState")} />`}
          ${detail.editedAt > 0 && html`<${Edited} detail=${detail} conversation=${conversation} acts=${acts} />`}
          <time datetime=${new Date(message.createdAt).toISOString()}>${time(message.createdAt)}</time>
          ${isMine && !recalled && html`<${State} message=${message} conversation=${conversation} />`}
        </span>
      </div>
      <div class="tools">
        ${!recalled && html`
          <${IconButton} icon="smile" label=${t("react")} tabindex="-1" onClick=${({ currentTarget }) => acts.pick(detail, currentTarget)} />
          <${IconButton} icon="reply" label=${t("reply")} tabindex="-1" onClick=${() => acts.reply(detail)} />`}
        <${IconButton} icon="more" label=${t("messageActions")} tabindex="-1" aria-haspopup="menu"
          class="icon-button always" onClick=${({ currentTarget }) => open(currentTarget)} />
      </div>
    </div>
    <${Reactions} detail=${detail} acts=${acts} />
  </article>`;
}

function Author({ message, name }) {
  const { title, member } = groupOf(message.conversationId).members.get(message.fromUserId) ?? {};
  const isKnown = title || (member && member.role !== "member");
  return html`<p class="author"><strong dir="auto">${name}</strong>
    ${isKnown && html`<small dir="auto">${title || t(member.role)}</small>`}</p>`;
}

/** Names that are marked in a text, each with whether it is one's own. */
function mentionsOf({ mentionedUserIds, mentionsAll, message }) {
  const names = (userId) => [nameOf(userId, message.conversationId), personOf(userId).name];
  const all = mentionsAll ? [{ name: "all", isMine: true }, { name: "所有人", isMine: true }] : [];
  const named = mentionedUserIds.flatMap((userId) => names(userId).map((name) => ({ name, isMine: userId === client.userId })));
  return [...named.filter(({ name }) => name), ...all];
}

function isForMe({ mentionedUserIds, mentionsAll, message }) {
  return message.fromUserId !== client.userId && (mentionsAll || mentionedUserIds.includes(client.userId));
}

function Quote({ quote, conversation, jump }) {
  const name = quote.fromUserId === client.userId ? t("you") : nameOf(quote.fromUserId, conversation?.conversationId);
  const text = contentText(quote);
  return html`<button type="button" class="quote" onClick=${() => jump(quote.messageId)}>
    <span class="unseen">${t("inReplyTo", { name, text: text.slice(0, 200) })}</span>
    <strong dir="auto" aria-hidden="true">${name}</strong><span dir="auto" aria-hidden="true">${text.slice(0, 200)}</span>
  </button>`;
}

/** Who may see what it was before can look. */
function Edited({ detail, conversation, acts }) {
  const maySee = detail.message.fromUserId === client.userId || isManager(conversation ?? {});
  if (!maySee) return html`<span>${t("edited")}</span>`;
  return html`<button type="button" class="edited" aria-label=${t("editedVersions")} onClick=${() => acts.show("versions", detail)}>
    ${t("edited")}
  </button>`;
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
