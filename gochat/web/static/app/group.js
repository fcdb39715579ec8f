// A group: what it is, who is in it, how it works, and leaving it.

import { client, emptied, html, select, useEffect, useForm, useState } from "./ui.js";
import { t } from "./text.js";
import { Confirmed, ErrorNote, Field } from "./parts.js";
import { isManager, may, useGroup } from "./groups.js";
import { Members } from "./members.js";
import { GroupSettings } from "./group_settings.js";
import { Bans, Invitations, Requests } from "./coming_in.js";

export function Group({ conversation }) {
  const { conversationId, role } = conversation;
  const [group, setGroup] = useState(null);
  const known = useGroup(conversation);
  useEffect(() => {
    const load = () => client.getGroup(conversationId).then(setGroup, () => {}); // its name is known anyway
    load();
    return client.on("event", (event) => event.conversationId === conversationId && event.type === "groupUpdated" && load());
  }, []);
  const manages = isManager(conversation);
  const isAlone = group?.currentMembers === 1;
  const after = (call) => async () => {
    await call(conversationId);
    select("");
  };
  return html`
    ${manages && known.requests.length > 0 && html`<${Requests} conversation=${conversation} group=${known} />`}
    ${group && (may(conversation, "editing")
      ? html`<${Rename} group=${group} />`
      : html`<p class="prose" dir="auto">${group.description}</p>`)}
    <${Members} conversation=${conversation} known=${known} total=${group?.currentMembers ?? known.members.size} />
    ${may(conversation, "adding") && html`<${Invitations} groupId=${conversationId} />`}
    ${known.settings && html`<${GroupSettings} settings=${known.settings} canChange=${manages} />`}
    ${manages && html`<${Bans} groupId=${conversationId} />`}
    ${role === "owner" && !isAlone
      ? html`<p class="quiet">${t("ownerCannotLeave")}</p>`
      : html`<${Confirmed} label=${t("leave")} question=${t("leaveConfirm")} act=${after((id) => client.leaveGroup(id))} />`}
    ${role === "owner" && html`<${Confirmed} label=${t("dissolve")} question=${t("dissolveConfirm")} act=${after((id) => client.dissolveGroup(id))} />`}`;
}

function Rename({ group }) {
  const [isSaved, setSaved] = useState(false);
  const { busy, error, onSubmit } = useForm(async ({ name, description }) => {
    await client.updateGroup(group.groupId, { name: name.trim(), description: emptied(description, group.description) });
    setSaved(true);
  });
  return html`<form onSubmit=${onSubmit} onInput=${() => setSaved(false)}>
    <${Field} label=${t("groupName")} name="name" required maxlength="100" defaultValue=${group.name} dir="auto" />
    <${Field} label=${t("description")} name="description" maxlength="1000" multiline defaultValue=${group.description.trim()} dir="auto" />
    <${ErrorNote} error=${error} />
    <button class="secondary" disabled=${busy}>${t("save")}</button>
    <span class="quiet" role="status">${isSaved ? ` ${t("saved")}` : ""}</span>
  </form>`;
}
