// The conversations: those that are pinned, then the latest first; and what one can do beside them.

import { client, html, useState, useUpdates } from "./ui.js";
import { errorText, t } from "./text.js";
import { Avatar, FixedList, IconButton } from "./parts.js";
import { personOf, usePeople } from "./people.js";
import { useGroups } from "./groups.js";
import { ConversationRow } from "./conversation_row.js";
import { ConversationMenu, isUnread } from "./conversation_menu.js";
import { NewChat, NewGroup } from "./new.js";
import { FindGroups } from "./find_groups.js";
import { Settings } from "./settings.js";

const ROW_HEIGHT = 72;
const DIALOGS = { newChat: NewChat, newGroup: NewGroup, findGroups: FindGroups, settings: Settings };
const FILTERS = {
  all: ({ settings }) => !settings.archived,
  unreadOnly: (conversation) => !conversation.settings.archived && isUnread(conversation),
  groups: ({ settings, type }) => !settings.archived && type === "group",
  mentions: ({ unreadMentions }) => unreadMentions > 0,
  archived: ({ settings }) => settings.archived,
};

export function Sidebar({ selected }) {
  const [query, setQuery] = useState("");
  const [filter, setFilter] = useState("all");
  const [dialog, setDialog] = useState("");
  const [menu, setMenu] = useState(null); // { conversationId, anchor }
  const [error, setError] = useState(null);
  useUpdates("conversations", "profile", "outbox");
  usePeople();
  useGroups();
  const wanted = query.trim().toLocaleLowerCase();
  const all = client.conversations;
  const chosen = filter === "archived" && !all.some(FILTERS.archived) ? "all" : filter; // the last one has left it
  const shown = wanted
    ? all.filter(({ name }) => name.toLocaleLowerCase().includes(wanted))
    : all.filter((conversation) => FILTERS[chosen](conversation) || (chosen !== "all" && chosen !== "archived" && chosen !== "groups" && conversation.conversationId === selected));
  const Opened = DIALOGS[dialog];
  const me = personOf(client.userId);
  const inMenu = menu && client.conversation(menu.conversationId);
  const run = (promise) => promise.then(() => setError(null), setError);
  const empty = wanted || chosen !== "all" || all.length
    ? html`<p class="quiet">${t(wanted ? "noMatch" : "nothingHere")}</p>`
    : html`<${Nobody} onstart=${() => setDialog("newChat")} />`;
  return html`<nav class="sidebar" aria-label=${t("chats")}>
    <header>
      <div class="me">
        <${Avatar} id=${client.userId} name=${me.name} avatar=${me.avatar} size="small" />
        <strong dir="auto">${me.name}</strong>
      </div>
      <${IconButton} icon="settings" label=${t("settings")} onClick=${() => setDialog("settings")} />
      <${IconButton} icon="compass" label=${t("findGroups")} onClick=${() => setDialog("findGroups")} />
      <${IconButton} icon="group" label=${t("newGroup")} onClick=${() => setDialog("newGroup")} />
      <${IconButton} icon="edit" label=${t("newChat")} onClick=${() => setDialog("newChat")} />
    </header>
    <input class="filter" type="search" aria-label=${t("filter")} placeholder=${t("filter")} value=${query}
      onInput=${({ target }) => setQuery(target.value)} />
    <${Filters} all=${all} chosen=${chosen} choose=${setFilter} />
    ${error && html`<p class="error" role="alert">${errorText(error)}</p>`}
    <${FixedList} label=${t("conversations")} items=${shown} height=${ROW_HEIGHT}
      keyOf=${({ conversationId }) => conversationId}
      row=${(conversation, index) => html`<${ConversationRow} conversation=${conversation} isFirst=${index === 0}
        isSelected=${conversation.conversationId === selected}
        onmenu=${(anchor) => setMenu({ conversationId: conversation.conversationId, anchor })} />`}
      empty=${empty} />
    ${inMenu && html`<${ConversationMenu} conversation=${inMenu} anchor=${menu.anchor} run=${run} onclose=${() => setMenu(null)} />`}
    ${Opened && html`<${Opened} onclose=${() => setDialog("")} />`}
  </nav>`;
}

/** Which conversations are listed. */
function Filters({ all, chosen, choose }) {
  const shown = Object.keys(FILTERS).filter((name) => name !== "archived" || all.some(FILTERS.archived));
  return html`<div class="filters" role="group" aria-label=${t("show")}>
    ${shown.map((name) => html`<button type="button" key=${name} aria-pressed=${name === chosen} onClick=${() => choose(name)}>
      ${t(`filter_${name}`)}
    </button>`)}
  </div>`;
}

function Nobody({ onstart }) {
  if (client.connection !== "online") return html`<p class="quiet">${t("loading")}</p>`;
  return html`<div class="nobody">
    <h2>${t("noConversations")}</h2>
    <p class="quiet">${t("noConversationsHint")}</p>
    <button type="button" class="primary" onClick=${onstart}>${t("newChat")}</button>
  </div>`;
}
