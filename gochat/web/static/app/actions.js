// What one can do with a message.

import { client, html } from "./ui.js";
import { t } from "./text.js";
import { Menu } from "./menu.js";
import { FrequentReactions } from "./reactions.js";
import { isManager } from "./groups.js";
import { isRecalled } from "./timeline.js";

export function MessageMenu({ detail, anchor, conversation, acts, onclose }) {
  const items = itemsOf(detail, conversation, acts);
  return html`<${Menu} label=${t("messageActions")} anchor=${anchor} items=${items} onclose=${onclose}>
    ${!isRecalled(detail.message) && html`<${FrequentReactions} detail=${detail} acts=${acts} onclose=${onclose} />`}
  <//>`;
}

function itemsOf(detail, conversation, acts) {
  const { message, pin, reactions, editedAt } = detail;
  const { messageId, content, fromUserId, messageType } = message;
  const isMine = fromUserId === client.userId;
  const manages = isManager(conversation);
  const isText = ["text", ""].includes(messageType);
  const erase = { label: t("deleteForMe"), icon: "trash", isDanger: true, act: () => acts.show("delete", detail) };
  if (isRecalled(message)) return [erase];
  const items = [
    { label: t("reply"), icon: "reply", act: () => acts.reply(detail) },
    isMine && isText && { label: t("edit"), icon: "edit", act: () => acts.edit(detail) },
    { label: t("forward"), icon: "forward", act: () => acts.show("forward", detail) },
    { label: t("copy"), icon: "copy", act: () => acts.copy(content) },
    (conversation.type === "single" || manages) && {
      label: t(pin ? "unpin" : "pin"), icon: "pin",
      act: () => acts.run(pin ? client.unpin(messageId) : client.pin(messageId)),
    },
    { label: t("readBy"), icon: "eye", act: () => acts.show("receipts", detail) },
    reactions.length > 0 && { label: t("whoReacted"), icon: "smile", act: () => acts.show("reactions", detail) },
    editedAt > 0 && (isMine || manages) && { label: t("versions"), icon: "clock", act: () => acts.show("versions", detail) },
    null,
    erase,
    (isMine || manages) && { label: t("recallForAll"), icon: "undo", isDanger: true, act: () => acts.show("recall", detail) },
  ];
  return items.filter((item) => item !== false);
}

/** To the clipboard, which browsers give to secure pages alone; elsewhere in the old way. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
