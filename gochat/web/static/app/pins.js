// The pinned messages of a conversation: a bar above it, and the list of them.

import { client, html, useEffect, useRef, useState } from "./ui.js";
import { dateTime, t } from "./text.js";
import { Dialog, Icon, IconButton } from "./parts.js";
import { isManager, nameOf } from "./groups.js";
import { contentText } from "./timeline.js";
import { Content } from "./content.js";

const CHANGES = ["messageUpdated", "messageDeleted"];

/** The latest pin first. */
export function usePins(conversationId) {
  const [pins, setPins] = useState([]);
  const known = useRef(pins);
  known.current = pins;
  useEffect(() => {
    let isOver = false;
    const load = () => client.pinned(conversationId).then((found) => isOver || setPins(found), () => {}); // what is known stays
    const isPinned = (messageId) => known.current.some(({ message }) => message.messageId === messageId);
    const concerns = ({ type, message, messageId }) =>
      type === "pinChanged" || (CHANGES.includes(type) && isPinned(message?.messageId ?? messageId));
    const hear = (event) => {
      if (event.type === "resync" || (event.conversationId === conversationId && concerns(event))) load();
    };
    const stop = [
      client.on("event", hear),
      client.on("connection", (connection) => connection === "online" && load()),
    ];
    load();
    return () => {
      isOver = true;
      stop.forEach((each) => each());
    };
  }, []);
  return pins;
}

export function PinnedBar({ pins, jump, onlist }) {
  const [shown, setShown] = useState(0);
  if (!pins.length) return null;
  const { message } = pins[shown % pins.length];
  const text = contentText(message).slice(0, 200);
  const go = () => {
    jump(message.messageId);
    setShown((shown + 1) % pins.length); // a press more goes on to the one before
  };
  return html`<div class="pinned" role="region" aria-label=${t("pinnedMessages")}>
    <button type="button" class="pin" onClick=${go}>
      <${Icon} name="pin" />
      <span class="unseen">${t("goToPinned", { text })}</span>
      <span class="names" aria-hidden="true"><strong>${t("pinnedMessage")}</strong><small dir="auto">${text}</small></span>
    </button>
    <button type="button" class="link" onClick=${onlist}>${t("allPinned", { n: pins.length })}</button>
  </div>`;
}

export function PinnedList({ pins, conversation, jump, run, onclose }) {
  const canUnpin = conversation.type === "single" || isManager(conversation);
  const go = (messageId) => {
    onclose();
    jump(messageId);
  };
  return html`<${Dialog} title=${t("pinnedMessages")} onclose=${onclose}>
    ${!pins.length && html`<p class="quiet">${t("noPins")}</p>`}
    <ul role="list" class="pins" aria-label=${t("pinnedMessages")}>
      ${pins.map(({ message }) => html`<li key=${message.messageId}>
        <div>
          <small><strong dir="auto">${message.fromUserId === client.userId ? t("you") : nameOf(message.fromUserId, message.conversationId)}</strong>
            ${" "}${dateTime(message.createdAt)}</small>
          <div class="excerpt"><${Content} text=${contentText(message).slice(0, 500)} /></div>
        </div>
        <button type="button" class="secondary" onClick=${() => go(message.messageId)}>${t("goToMessage")}</button>
        ${canUnpin && html`<${IconButton} icon="close" label=${t("unpin")} onClick=${() => run(client.unpin(message.messageId))} />`}
      </li>`)}
    </ul>
  <//>`;
}
