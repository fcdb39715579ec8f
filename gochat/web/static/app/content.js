// The text of a message, whatever it looks like: text. Web addresses become links, and mentions are marked.

import { html } from "./ui.js";

const LINK = /(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'])/g;

/** mentions: { name, isMine } of those whose @name is marked. */
export function Content({ text, mentions = [] }) {
  const parts = text.split(LINK);
  return html`<div class="content" dir="auto">${parts.map((part, index) => index % 2
    ? html`<a href=${part} target="_blank" rel="noopener noreferrer">${part}</a>`
    : marked(part, mentions))}</div>`;
}

function marked(text, mentions) {
  if (!mentions.length || !text.includes("@")) return text;
  const names = [...mentions].sort((a, b) => b.name.length - a.name.length).map(({ name }) => `@${escaped(name)}`);
  const parts = text.split(new RegExp(`(${names.join("|")})(?![\\p{L}\\p{N}])`, "u"));
  return parts.map((part, index) => index % 2
    ? html`<span class=${isMine(part, mentions) ? "mention own" : "mention"}>${part}</span>`
    : part);
}

function isMine(part, mentions) {
  return mentions.some((mention) => mention.isMine && part === `@${mention.name}`);
}

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\\/-]/g, "\\$&");
}
