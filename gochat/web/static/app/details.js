// What there is to know and to do about a conversation.

import { client, html, select, useEffect, useState } from "./ui.js";
import { t } from "./text.js";
import { Avatar, Confirmed, Dialog } from "./parts.js";
import { presenceText } from "./people.js";
import { Group } from "./group.js";

export function Details({ conversation, onclose }) {
  const { conversationId, name, avatar, type, peerUserId } = conversation;
  const Shown = type === "group" ? Group : Peer;
  return html`<${Dialog} title=${t("details")} onclose=${onclose}>
    <div class="portrait">
      <${Avatar} id=${peerUserId || conversationId} name=${name} avatar=${avatar} size="large" />
      <h3 dir="auto">${name}</h3>
    </div>
    <${Shown} conversation=${conversation} />
    <${Confirmed} label=${t("hide")} question=${t("hideConfirm")} act=${async () => {
      await client.hideConversation(conversationId);
      select("");
    }} />
  <//>`;
}

function Peer({ conversation: { peerUserId } }) {
  const [profile, setProfile] = useState(null);
  useEffect(() => {
    if (peerUserId) client.getProfile(peerUserId).then(setProfile, () => {});
  }, []);
  return html`<div class="portrait">
    ${profile && html`<p class="quiet" dir="auto">@${profile.username}</p>`}
    <p class="quiet">${presenceText(peerUserId)}</p>
    ${profile?.bio.trim() && html`<p class="prose" dir="auto">${profile.bio}</p>`}
  </div>`;
}
