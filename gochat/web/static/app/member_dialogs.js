// Dialogs about one member of a group: a name, a title, handing the group over, muting, banning.

import { client, html, useForm, useState } from "./ui.js";
import { t } from "./text.js";
import { Ask, Choice, Dialog, ErrorNote, Field } from "./parts.js";
import { nameOf } from "./groups.js";

const HOUR_MS = 3_600_000;
const DURATIONS = { "1h": HOUR_MS, "8h": 8 * HOUR_MS, "1d": 24 * HOUR_MS, "1w": 7 * 24 * HOUR_MS, forGood: Infinity };

/** A dialog with one form. submit(values) */
function Form({ title, submit, label, onclose, children, isDanger = false }) {
  const { busy, error, onSubmit } = useForm(async (values) => {
    await submit(values);
    onclose();
  });
  return html`<${Dialog} title=${title} onclose=${onclose}>
    <form onSubmit=${onSubmit}>
      ${children}
      <${ErrorNote} error=${error} />
      <div class="choices">
        <button type="button" class="secondary" onClick=${onclose}>${t("cancel")}</button>
        <button class=${isDanger ? "danger full" : "primary"} disabled=${busy}>${label}</button>
      </div>
    </form>
  <//>`;
}

function Duration({ value, onChange }) {
  const options = Object.fromEntries(Object.keys(DURATIONS).map((key) => [key, t(`duration_${key}`)]));
  return html`<${Choice} label=${t("duration")} options=${options} value=${value} onChange=${({ target }) => onChange(target.value)} />`;
}

function until(duration) {
  return Date.now() + DURATIONS[duration];
}

function Nickname({ detail: { member, groupNickname }, groupId, onclose }) {
  const isMe = member.userId === client.userId;
  return html`<${Form} title=${t("changeNickname")} label=${t("save")} onclose=${onclose}
    submit=${({ nickname }) => client.setNickname(groupId, nickname.trim(), isMe ? "" : member.userId)}>
    <${Field} label=${t("groupNickname")} name="nickname" maxlength="64" autocomplete="off" defaultValue=${groupNickname} dir="auto"
      hint=${t("groupNicknameHint")} />
  <//>`;
}

function Title({ detail: { member, title }, groupId, onclose }) {
  return html`<${Form} title=${t("changeTitle")} label=${t("save")} onclose=${onclose}
    submit=${(values) => client.setTitle(groupId, member.userId, values.title.trim())}>
    <${Field} label=${t("memberTitle")} name="title" maxlength="32" autocomplete="off" defaultValue=${title} dir="auto" hint=${t("memberTitleHint")} />
  <//>`;
}

function Mute({ detail: { member: { userId } }, groupId, onclose }) {
  const [duration, setDuration] = useState("1h");
  return html`<${Form} title=${t("muteNamed", { name: nameOf(userId, groupId) })} label=${t("muteMember")} onclose=${onclose}
    submit=${() => client.muteMember(groupId, userId, until(duration))}>
    <p class="quiet">${t("muteHint")}</p>
    <${Duration} value=${duration} onChange=${setDuration} />
  <//>`;
}

function Ban({ detail: { member: { userId } }, groupId, onclose }) {
  const [duration, setDuration] = useState("forGood");
  return html`<${Form} title=${t("banNamed", { name: nameOf(userId, groupId) })} label=${t("ban")} isDanger onclose=${onclose}
    submit=${({ reason }) => client.banMember(groupId, userId, { until: until(duration), reason: reason.trim() })}>
    <p class="quiet">${t("banHint")}</p>
    <${Duration} value=${duration} onChange=${setDuration} />
    <${Field} label=${t("reason")} name="reason" maxlength="200" autocomplete="off" />
  <//>`;
}

function Owner({ detail: { member: { userId } }, groupId, onclose }) {
  return html`<${Ask} title=${t("makeOwner")} question=${t("makeOwnerConfirm", { name: nameOf(userId, groupId) })} label=${t("makeOwner")}
    act=${() => client.transferOwnership(groupId, userId)} onclose=${onclose} />`;
}

export const MEMBER_DIALOGS = { nickname: Nickname, title: Title, mute: Mute, ban: Ban, owner: Owner };
