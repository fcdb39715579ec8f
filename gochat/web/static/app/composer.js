// Where one writes: a message, an answer, or another text for a message that is edited.

import { client, html, useEffect, useLayoutEffect, useRef, useState } from "./ui.js";
import { dateTime, errorText, t } from "./text.js";
import { Icon, IconButton } from "./parts.js";
import { groupOf, may, nameOf } from "./groups.js";
import { contentText } from "./timeline.js";
import { mentionsIn, useCompletion } from "./mentions.js";

const MAX_BYTES = 16 * 1024;
const MAX_TIMER_MS = 2 ** 31 - 1;

// What is written and not sent is this tab's, and its user's: it survives a reload.
const draftKey = (conversationId) => `draft/${client.userId}/${conversationId}`;
const draftOf = (conversationId) => sessionStorage.getItem(draftKey(conversationId)) ?? "";
client.on("signedOut", (error) => error || sessionStorage.clear());

/** draft: { kind: "reply" | "edit", detail } or null. ondone(): that is over. oneditlast(): edit one's latest message. */
export function Composer({ conversation, draft, ondone, oneditlast, onsend }) {
  const { conversationId } = conversation;
  const [text, setText] = useState(draftOf(conversationId));
  const [caret, setCaret] = useState(0);
  const [error, setError] = useState(null);
  const [choice, setChoice] = useState(0); // among who could be mentioned
  const [isDismissed, setDismissed] = useState(false);
  const area = useRef();
  const content = text.trim();
  const isTooLong = new TextEncoder().encode(content).length > MAX_BYTES;
  const hasKeyboard = matchMedia("(hover: hover)").matches; // on a phone it would cover the messages
  const completion = useCompletion(conversation, text, caret);
  const options = isDismissed ? [] : (completion?.options ?? []);
  const isEditing = draft?.kind === "edit";
  const refusal = useRefusal(conversation);

  useEffect(() => {
    if (hasKeyboard) area.current?.focus();
    return () => client.setTyping(conversationId, false).catch(() => {});
  }, []);
  useLayoutEffect(() => {
    setError(null);
    if (!draft) return;
    if (isEditing) setText(draft.detail.message.content);
    area.current?.focus();
    return () => isEditing && setText(draftOf(conversationId));
  }, [draft]);
  useLayoutEffect(() => {
    if (!area.current) return;
    area.current.style.height = "auto";
    area.current.style.height = `${area.current.scrollHeight}px`;
  }, [text, refusal]);

  const write = (written, position) => {
    setText(written);
    setCaret(position);
    setChoice(0);
    setDismissed(false);
    if (isEditing) return;
    sessionStorage.setItem(draftKey(conversationId), written);
    client.setTyping(conversationId, Boolean(written.trim())).catch(() => {}); // nobody needs to know
  };
  const look = ({ target }) => setCaret(target.selectionStart);
  const complete = ({ name }) => {
    const before = `${text.slice(0, completion.start)}@${name} `;
    write(before + text.slice(caret), before.length);
    area.current.focus();
    requestAnimationFrame(() => area.current?.setSelectionRange(before.length, before.length));
  };
  const edit = async () => {
    const { message } = draft.detail;
    try {
      const mentions = mentionsIn(content, conversation);
      const isSame = String(mentions) === (message.metadata.mentions ?? "");
      if (content !== message.content || !isSame) await client.edit(message.messageId, content, { ...(!isSame && { mentions }) });
      ondone();
    } catch (failed) {
      setError(failed);
    }
  };
  const send = () => {
    if (!content || isTooLong) return;
    if (isEditing) return edit();
    const replyTo = draft?.detail.message.messageId;
    client.enqueue({ conversationId, content, replyTo, mentions: mentionsIn(content, conversation) });
    setText("");
    sessionStorage.removeItem(draftKey(conversationId));
    if (draft) ondone();
    onsend();
    area.current.focus();
  };
  const onsubmit = (event) => {
    event.preventDefault();
    send();
  };
  const onkeydown = (event) => {
    if (event.isComposing) return; // Enter also ends the input of a Chinese or Japanese word
    const act = options.length ? completionKey(event.key) : plainKey(event);
    if (!act) return;
    event.preventDefault();
    act();
  };
  const completionKey = (key) => ({
    ArrowDown: () => setChoice((choice + 1) % options.length),
    ArrowUp: () => setChoice((choice + options.length - 1) % options.length),
    Enter: () => complete(options[choice]),
    Tab: () => complete(options[choice]),
    Escape: () => setDismissed(true),
  })[key];
  const plainKey = ({ key, shiftKey }) => {
    if (key === "Enter" && !shiftKey) return send;
    if (key === "Escape" && draft) return ondone;
    return key === "ArrowUp" && !text && !draft ? oneditlast : null;
  };
  if (refusal) return html`<p class="refusal" role="status">${refusal}</p>`;
  const list = `mentions-${conversationId}`;
  const active = options.length ? { "aria-controls": list, "aria-activedescendant": `${list}-${choice}` } : {};
  return html`<form class="composer" onSubmit=${onsubmit}>
    ${draft && html`<${Draft} draft=${draft} conversationId=${conversationId} oncancel=${ondone} />`}
    ${error && html`<p class="error" role="alert">${errorText(error)}</p>`}
    ${options.length > 0 && html`<ul class="completion" role="listbox" id=${list} aria-label=${t("mention")}>
      ${options.map((option, index) => html`<li key=${option.id} id=${`${list}-${index}`} role="option" aria-selected=${index === choice}
        onMouseDown=${(event) => event.preventDefault()} onClick=${() => complete(option)}>
        <strong dir="auto">@${option.name}</strong> <small dir="auto">${option.note}</small>
      </li>`)}
    </ul>`}
    <textarea ref=${area} rows="1" dir="auto" aria-label=${t("message")} placeholder=${t("message")} value=${text}
      aria-invalid=${isTooLong} aria-autocomplete=${conversation.type === "group" ? "list" : undefined} ...${active}
      onInput=${({ target }) => write(target.value, target.selectionStart)} onKeyDown=${onkeydown}
      onKeyUp=${look} onClick=${look} onBlur=${() => setDismissed(true)} />
    <${IconButton} icon=${isEditing ? "check" : "send"} label=${t(isEditing ? "save" : "send")} class="icon-button send"
      disabled=${!content || isTooLong} onClick=${send} />
    <${SlowMode} conversation=${conversation} />
  </form>`;
}

/** What is answered or edited, above the text. */
function Draft({ draft: { kind, detail }, conversationId, oncancel }) {
  const { message } = detail;
  const name = message.fromUserId === client.userId ? t("you") : nameOf(message.fromUserId, conversationId);
  const title = kind === "edit" ? t("editing") : t("replyingTo", { name });
  return html`<div class="draft" role="group" aria-label=${title}>
    <${Icon} name=${kind} />
    <span class="names"><strong dir="auto">${title}</strong><small dir="auto">${contentText(message).slice(0, 200)}</small></span>
    <${IconButton} icon="close" label=${t("cancel")} onClick=${oncancel} />
  </div>`;
}

function SlowMode({ conversation }) {
  const seconds = conversation.role === "member" ? (groupOf(conversation.conversationId).settings?.slowModeSeconds ?? 0) : 0;
  return seconds > 0 && html`<small class="slow">${t("slowModeHint", { n: seconds })}</small>`;
}

/** Why one may not write here; "" if one may. */
function useRefusal(conversation) {
  const [, update] = useState(0);
  const { settings, members } = groupOf(conversation.conversationId);
  const { mutedUntil = 0 } = members.get(client.userId) ?? {};
  useEffect(() => {
    const wait = mutedUntil - Date.now();
    const timer = wait > 0 && wait < MAX_TIMER_MS && setTimeout(() => update((count) => count + 1), wait + 1);
    return () => clearTimeout(timer);
  }, [mutedUntil]);
  if (conversation.type !== "group") return "";
  if (mutedUntil > Date.now()) return mutedUntil === Infinity ? t("youAreMuted") : t("youAreMutedUntil", { when: dateTime(mutedUntil) });
  return settings && !may(conversation, "posting") ? t("onlyManagersPost") : "";
}
