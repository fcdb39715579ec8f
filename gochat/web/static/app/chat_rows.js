// The rows of a conversation: days, messages, what happened beside them, and what is not sent yet.

import { client, html } from "./ui.js";
import { day, errorText, isSameDay, t, time } from "./text.js";
import { Icon } from "./parts.js";
import { Content } from "./content.js";
import { Message } from "./message.js";
import { lineText } from "./lines.js";

const GROUPED_MS = 5 * 60_000; // messages of one person within this time belong together

/** readMessageId: what comes after it is new; null: nothing. marked: the id of a message to show as the one looked for. */
export function toRows({ details, lines, waiting, conversation, readMessageId, marked }) {
  const rows = [];
  let before = null;
  const separate = (at) => {
    if (!before || !isSameDay(before.at, at)) rows.push({ key: `day ${at}`, kind: "day", at, floats: true });
  };
  let isNewMarked = readMessageId === null;
  const sent = new Set();
  let next = lines.findIndex(({ at }) => !details.length || at >= details[0].message.createdAt);
  const addLines = (until) => {
    for (; next >= 0 && next < lines.length && lines[next].at < until; next++) {
      separate(lines[next].at);
      rows.push({ ...lines[next], kind: "line" });
      before = { at: lines[next].at };
    }
  };
  for (const detail of details) {
    const { messageId: key, createdAt: at, fromUserId, metadata } = detail.message;
    addLines(at);
    separate(at);
    if (!isNewMarked && key > readMessageId && fromUserId !== client.userId) {
      isNewMarked = true;
      rows.push({ key: "new", kind: "new", floats: true });
      before = null;
    }
    const follows = before?.fromUserId === fromUserId && at - before.at < GROUPED_MS && rows.at(-1).kind === "message";
    rows.push({ key, kind: "message", detail, follows, isGroup: conversation?.type === "group", isMarked: key === marked });
    before = { at, fromUserId };
    if (fromUserId === client.userId && metadata.client_msg_id) sent.add(metadata.client_msg_id);
  }
  addLines(Infinity);
  for (const entry of waiting) {
    if (sent.has(entry.clientMsgId)) continue; // its answer was lost, but it has come
    separate(entry.createdAt);
    before = { at: entry.createdAt, fromUserId: client.userId };
    rows.push({ key: entry.clientMsgId, kind: "waiting", entry });
  }
  return rows;
}

export function Row({ row, quote, conversation, acts }) {
  if (row.kind === "day") return html`<p class="day"><span>${day(row.at)}</span></p>`;
  if (row.kind === "new") return html`<p class="day new"><span>${t("newMessages")}</span></p>`;
  if (row.kind === "line") return html`<p class="line"><span dir="auto">${lineText(row.event)}</span></p>`;
  if (row.kind === "waiting") return html`<${Waiting} entry=${row.entry} />`;
  return html`<${Message} row=${row} quote=${quote} conversation=${conversation} acts=${acts} />`;
}

function Waiting({ entry }) {
  const { clientMsgId, content, createdAt, state, error } = entry;
  const isFailed = state === "failed";
  return html`<article class="message mine" aria-label=${`${t("you")}, ${t(isFailed ? "failed" : "queued")}`}>
    <div class="holder"><div class=${`bubble ${isFailed ? "failed" : "queued"}`}>
      <${Content} text=${content} />
      <span class="meta">
        <time>${time(createdAt)}</time><${Icon} name=${isFailed ? "alert" : "clock"} label=${t(isFailed ? "failed" : "queued")} />
      </span>
    </div></div>
    ${isFailed && html`<p class="failure" role="alert">
      <span>${errorText(error)}</span>
      <button type="button" class="link" onClick=${() => client.retry(clientMsgId)}>${t("retry")}</button>
      <button type="button" class="link" onClick=${() => client.discard(clientMsgId)}>${t("discard")}</button>
    </p>`}
  </article>`;
}

/** Arrow keys go from message to message. */
export function moveInLog(event) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || event.target.closest("button, a, .popover")) return;
  event.preventDefault();
  const articles = [...event.currentTarget.querySelectorAll("article[tabindex]")];
  const at = articles.indexOf(document.activeElement);
  const { bottom } = event.currentTarget.getBoundingClientRect();
  const inSight = articles.findLast((article) => article.getBoundingClientRect().top < bottom);
  (at < 0 ? inSight : articles[at + step])?.focus();
}
