// Dialogs about one message: who read it, who reacted, what it was before, where to forward it, deleting it.

import { client, html, useEffect, useState } from "./ui.js";
import { dateTime, t } from "./text.js";
import { Ask, Avatar, Dialog, ErrorNote } from "./parts.js";
import { More, usePages } from "./pages.js";
import { Person, personOf, usePeople } from "./people.js";
import { nameOf } from "./groups.js";
import { Content } from "./content.js";

const READ = 3;
const DELIVERED = 2;

/** What a call answers, or its error; null until then. It is made again when one of those that it depends on changes. */
function useAnswer(call, dependsOn = []) {
  const [answer, setAnswer] = useState({ value: null, error: null });
  useEffect(() => {
    call().then((value) => setAnswer({ value, error: null }), (error) => setAnswer({ value: null, error }));
  }, dependsOn);
  return answer;
}

function Waiting({ value, error }) {
  return html`<${ErrorNote} error=${error} />${!value && !error && html`<p class="quiet" role="status">${t("loading")}</p>`}`;
}

function Listed({ label, userIds, conversationId, count = userIds.length, note = () => "" }) {
  if (!userIds.length) return null;
  return html`<section><h3>${label} <span class="count">${count}</span></h3>
    <ul role="list" class="people" aria-label=${label}>
      ${userIds.map((userId) => html`<li key=${userId}><${Person} userId=${userId} name=${nameOf(userId, conversationId)}
        avatar=${personOf(userId).avatar} note=${note(userId)} /></li>`)}
    </ul></section>`;
}

function Receipts({ detail: { message }, onclose }) {
  const answer = useAnswer(() => client.receipts(message.messageId));
  usePeople();
  const { readCount, deliveredCount, recipientCount, receipts = [] } = answer.value ?? {};
  const those = (holds) => receipts.filter(({ status }) => holds(status)).map(({ userId }) => userId);
  return html`<${Dialog} title=${t("readBy")} onclose=${onclose}>
    <${Waiting} ...${answer} />
    ${answer.value && html`<p class="quiet">${t("readCount", { n: readCount, all: recipientCount })}</p>`}
    ${answer.value && !receipts.length && deliveredCount > readCount && html`<p class="quiet">${t("deliveredCount", { n: deliveredCount })}</p>`}
    <${Listed} label=${t("readState")} conversationId=${message.conversationId} userIds=${those((status) => status >= READ)} />
    <${Listed} label=${t("delivered")} conversationId=${message.conversationId} userIds=${those((status) => status === DELIVERED)} />
    <${Listed} label=${t("sent")} conversationId=${message.conversationId} userIds=${those((status) => status < DELIVERED)} />
  <//>`;
}

function WhoReacted({ detail: { message, reactions: counted }, onclose }) {
  const { items, error, again, ...pages } = usePages(async (pageToken) => {
    const { reactions, nextPageToken } = await client.reactions(message.messageId, { pageToken });
    return { items: reactions, nextPageToken };
  });
  useEffect(() => void again(), [counted]);
  usePeople();
  const reactions = items ?? [];
  const count = (kind) => Math.max(by(kind).length, (pages.nextPageToken && counted.find(({ reaction }) => reaction === kind)?.count) || 0);
  const kinds = [...new Set(reactions.map(({ reaction }) => reaction))];
  const by = (kind) => reactions.filter(({ reaction }) => reaction === kind).map(({ userId }) => userId);
  return html`<${Dialog} title=${t("reactions")} onclose=${onclose}>
    <${Waiting} value=${items} error=${error} />
    ${items && !kinds.length && html`<p class="quiet">${t("noReactions")}</p>`}
    ${kinds.map((kind) => html`<${Listed} key=${kind} label=${kind} conversationId=${message.conversationId} userIds=${by(kind)} count=${count(kind)} />`)}
    <${More} ...${pages} />
  <//>`;
}

/** All of them: the newest come last. */
async function versionsOf(messageId) {
  const found = [];
  let pageToken = "";
  do {
    const { versions, nextPageToken } = await client.versions(messageId, { pageToken, limit: 200 });
    found.push(...versions);
    pageToken = nextPageToken;
  } while (pageToken);
  return found;
}

function Versions({ detail: { message, editedAt }, onclose }) {
  const answer = useAnswer(() => versionsOf(message.messageId), [editedAt]);
  const versions = [...(answer.value ?? []), { content: message.content, createdAt: editedAt }];
  return html`<${Dialog} title=${t("versions")} onclose=${onclose}>
    <${Waiting} ...${answer} />
    ${answer.value && html`<ol class="versions" aria-label=${t("versions")}>
      ${versions.map(({ content, createdAt }, index) => html`<li key=${index}>
        <small>${dateTime(createdAt)}${index === versions.length - 1 ? ` · ${t("now")}` : ""}</small>
        <${Content} text=${content} />
      </li>`).reverse()}
    </ol>`}
  <//>`;
}

function Forward({ detail: { message }, onclose }) {
  const [filter, setFilter] = useState("");
  const [done, setDone] = useState([]);
  const wanted = filter.trim().toLocaleLowerCase();
  const shown = client.conversations.filter(({ name }) => name.toLocaleLowerCase().includes(wanted)).slice(0, 50);
  const send = ({ conversationId }) => {
    const { content, messageType, messageId } = message;
    client.enqueue({ conversationId, content, messageType: messageType || "text", forwardedFrom: messageId });
    setDone([...done, conversationId]);
  };
  return html`<${Dialog} title=${t("forward")} onclose=${onclose}>
    <input class="filter inside" type="search" aria-label=${t("filter")} placeholder=${t("filter")} value=${filter}
      onInput=${({ target }) => setFilter(target.value)} />
    <ul role="list" class="people" aria-label=${t("conversations")}>
      ${shown.map((conversation) => html`<li key=${conversation.conversationId}><div class="person">
        <${Avatar} id=${conversation.peerUserId || conversation.conversationId} name=${conversation.name} avatar=${conversation.avatar} size="small" />
        <span class="names"><strong dir="auto">${conversation.name}</strong></span>
        ${done.includes(conversation.conversationId)
          ? html`<span class="quiet" role="status">${t("forwarded")}</span>`
          : html`<button type="button" class="secondary" aria-label=${t("forwardTo", { name: conversation.name })}
              onClick=${() => send(conversation)}>${t("forward")}</button>`}
      </div></li>`)}
    </ul>
    ${!shown.length && html`<p class="quiet">${t("noMatch")}</p>`}
  <//>`;
}

function Delete({ detail: { message }, onclose }) {
  return html`<${Ask} title=${t("deleteForMe")} question=${t("deleteConfirm")} label=${t("delete")}
    act=${() => client.deleteForMe(message.messageId)} onclose=${onclose} />`;
}

function Recall({ detail: { message }, onclose }) {
  return html`<${Ask} title=${t("recallForAll")} question=${t("recallConfirm")} label=${t("recall")}
    act=${() => client.recall(message.messageId)} onclose=${onclose} />`;
}

export const MESSAGE_DIALOGS = { receipts: Receipts, reactions: WhoReacted, versions: Versions, forward: Forward, delete: Delete, recall: Recall };
