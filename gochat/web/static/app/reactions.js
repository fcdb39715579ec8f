// Reactions to a message: those that there are, and choosing one.

import { client, html, useState } from "./ui.js";
import { t } from "./text.js";
import { Icon } from "./parts.js";
import { Popover, onLongPress } from "./menu.js";
import { EMOJI, frequentEmoji, rememberEmoji } from "./emoji.js";
import { nameOf } from "./groups.js";

const COLUMNS = 8;

export function toggleReaction({ message: { messageId }, reactions }, reaction) {
  const isMine = reactions.some((each) => each.mine && each.reaction === reaction);
  if (!isMine) rememberEmoji(reaction);
  return isMine ? client.unreact(messageId, reaction) : client.react(messageId, reaction);
}

/** Under a message: each with its count; a press adds one's own or takes it back, a long one shows who. */
export function Reactions({ detail, acts }) {
  const { reactions, message } = detail;
  if (!reactions.length) return null;
  return html`<div class="reactions" role="group" aria-label=${t("reactions")}>
    ${reactions.map(({ reaction, count, mine, userIds }) => {
      const names = namesOf(userIds, count, message.conversationId);
      return html`<button type="button" key=${reaction} class="reaction" aria-pressed=${mine} title=${names}
        aria-label=${`${reaction} ${count}: ${names}`} onClick=${() => acts.react(detail, reaction)}
        ...${onLongPress(() => acts.show("reactions", detail))}>
        <span aria-hidden="true">${reaction}</span><span>${count}</span>
      </button>`;
    })}
    <button type="button" class="reaction add" aria-label=${t("addReaction")} title=${t("addReaction")}
      onClick=${({ currentTarget }) => acts.pick(detail, currentTarget)}><${Icon} name="smile" /></button>
  </div>`;
}

function namesOf(userIds, count, conversationId) {
  const names = userIds.map((userId) => (userId === client.userId ? t("you") : nameOf(userId, conversationId)));
  const others = count - userIds.length;
  return others > 0 ? `${names.join(", ")} ${t("andMore", { n: others })}` : names.join(", ");
}

/** A row of those that are used most, in a menu. */
export function FrequentReactions({ detail, acts, onclose }) {
  const choose = (emoji) => {
    onclose();
    acts.react(detail, emoji);
  };
  const isMine = (emoji) => detail.reactions.some((each) => each.mine && each.reaction === emoji);
  return html`<div role="group" aria-label=${t("react")} class="frequent" data-columns="7">
    ${frequentEmoji().map((emoji) => html`<button type="button" key=${emoji} role="menuitem" tabindex="-1" class=${isMine(emoji) ? "mine" : ""}
      aria-label=${t("reactWith", { reaction: emoji })} onClick=${() => choose(emoji)}>${emoji}</button>`)}
    <button type="button" role="menuitem" tabindex="-1" aria-label=${t("moreReactions")} title=${t("moreReactions")} onClick=${(event) => {
      const { x, y } = event.currentTarget.getBoundingClientRect();
      onclose();
      acts.pick(detail, { x, y });
    }}><${Icon} name="plus" /></button>
  </div>`;
}

/** All emoji that there are, in categories. onpick(emoji) */
export function EmojiPicker({ anchor, onclose, onpick }) {
  const [chosen, setChosen] = useState("smileys");
  const { emoji } = EMOJI.find(({ name }) => name === chosen);
  return html`<${Popover} anchor=${anchor} onclose=${onclose} role="dialog" aria-label=${t("addReaction")} class="picker">
    <div role="tablist" aria-label=${t("categories")} class="categories" data-columns=${EMOJI.length}>
      ${EMOJI.map(({ name, emoji: [first] }) => html`<button type="button" key=${name} role="tab" aria-selected=${name === chosen}
        aria-label=${t(`emoji_${name}`)} title=${t(`emoji_${name}`)} aria-controls="emoji-panel" onClick=${() => setChosen(name)}>${first}</button>`)}
    </div>
    <div role="tabpanel" id="emoji-panel" aria-label=${t(`emoji_${chosen}`)} class="emoji" data-columns=${COLUMNS}>
      ${emoji.map((each, index) => html`<button type="button" key=${each} tabindex=${index ? -1 : 0} data-first=${index === 0 || undefined}
        onClick=${() => {
          onclose();
          onpick(each);
        }}>${each}</button>`)}
    </div>
  <//>`;
}
