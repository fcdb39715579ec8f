// What one can do with a conversation for oneself: mute, pin, archive, mark as unread.

import { client, html } from "./ui.js";
import { t } from "./text.js";
import { Menu } from "./menu.js";

const HOUR_MS = 3_600_000;
const DURATIONS = { mute1h: HOUR_MS, mute8h: 8 * HOUR_MS, mute1w: 7 * 24 * HOUR_MS, muteForGood: Infinity };

export function isMuted({ settings }) {
  return settings.mutedUntil > Date.now();
}

export function isUnread({ unreadCount, settings }) {
  return unreadCount > 0 || settings.markedUnread;
}

/** run(promise): shows what went wrong. */
export function ConversationMenu({ conversation, anchor, run, onclose }) {
  const { conversationId, settings, lastMessage } = conversation;
  const set = (changes) => run(client.updateSettings(conversationId, changes));
  const read = () => run(Promise.all([
    lastMessage && client.markRead(conversationId, lastMessage.messageId),
    settings.markedUnread && client.updateSettings(conversationId, { markedUnread: false }),
  ]));
  const mutes = Object.entries(DURATIONS).map(([name, duration]) => ({
    label: t(name), icon: "muted", act: () => set({ mutedUntil: Date.now() + duration }),
  }));
  const items = [
    { label: t(settings.pinnedAt ? "unpinChat" : "pinChat"), icon: "pin", act: () => set({ pinned: !settings.pinnedAt }) },
    isUnread(conversation)
      ? { label: t("markRead"), icon: "check", act: read }
      : { label: t("markUnread"), icon: "mark", act: () => set({ markedUnread: true }) },
    { label: t(settings.archived ? "unarchive" : "archive"), icon: "archive", act: () => set({ archived: !settings.archived }) },
    null,
    ...(isMuted(conversation) ? [{ label: t("unmute"), icon: "bell", act: () => set({ mutedUntil: 0 }) }] : mutes),
  ];
  return html`<${Menu} label=${t("chatMenu")} anchor=${anchor} items=${items} onclose=${onclose} />`;
}
