// Beginning a conversation: with one person, or a group.

import { client, html, select, useForm, useState } from "./ui.js";
import { t } from "./text.js";
import { Dialog, ErrorNote, Field } from "./parts.js";
import { PeopleSearch, know } from "./people.js";

export function NewChat({ onclose }) {
  const [error, setError] = useState(null);
  const start = async (user) => {
    try {
      know(user);
      const known = client.conversations.find(({ peerUserId }) => peerUserId === user.userId);
      const { conversationId } = known ?? (await client.createConversation(user.userId));
      onclose();
      select(conversationId);
    } catch (failed) {
      setError(failed);
    }
  };
  const action = (user) => html`<button type="button" class="whole" aria-label=${user.nickname || user.username}
    onClick=${() => start(user)} />`;
  return html`<${Dialog} title=${t("newChat")} onclose=${onclose}>
    <${PeopleSearch} action=${action} />
    <${ErrorNote} error=${error} />
  <//>`;
}

export function NewGroup({ onclose }) {
  const [chosen, setChosen] = useState([]);
  const { busy, error, onSubmit } = useForm(async ({ name, description }) => {
    const memberIds = chosen.map(({ userId }) => userId);
    const { groupId } = await client.createGroup({ name: name.trim(), description, memberIds });
    onclose();
    select(groupId);
  });
  const remove = (user) => setChosen(chosen.filter(({ userId }) => userId !== user.userId));
  const choose = (user, begin) => {
    setChosen([...chosen, user]);
    begin();
  };
  const add = (user, begin) => html`<button type="button" class="secondary" onClick=${() => choose(user, begin)}
    aria-label=${t("addNamed", { name: user.nickname || user.username })}>${t("add")}</button>`;
  return html`<${Dialog} title=${t("newGroup")} onclose=${onclose}>
    <form id="new-group" onSubmit=${onSubmit}>
      <${Field} label=${t("groupName")} name="name" required maxlength="100" autocomplete="off" />
      <${Field} label=${t("description")} name="description" maxlength="1000" autocomplete="off" />
    </form>
    ${chosen.length > 0 && html`<ul role="list" class="chips" aria-label=${t("chosen")}>
      ${chosen.map((user) => html`<li key=${user.userId}>
        <button type="button" class="chip" onClick=${() => remove(user)} dir="auto"
          aria-label=${t("removeNamed", { name: user.nickname || user.username })}>
          ${user.nickname || user.username} <span aria-hidden="true">×</span>
        </button>
      </li>`)}
    </ul>`}
    <${PeopleSearch} action=${add} without=${chosen.map(({ userId }) => userId)} autofocus=${false} />
    <${ErrorNote} error=${error} />
    <button class="primary" form="new-group" disabled=${busy}>${t("create")}</button>
  <//>`;
}
