// Where one writes.

import { client, html, useEffect, useLayoutEffect, useRef, useState } from "./ui.js";
import { t } from "./text.js";
import { IconButton } from "./parts.js";

const MAX_BYTES = 16 * 1024;

// What is written and not sent is this tab's, and its user's: it survives a reload.
const draftKey = (conversationId) => `draft/${client.userId}/${conversationId}`;
client.on("signedOut", (error) => error || sessionStorage.clear());

export function Composer({ conversationId, onsend }) {
  const [text, setText] = useState(sessionStorage.getItem(draftKey(conversationId)) ?? "");
  const area = useRef();
  const content = text.trim();
  const isTooLong = new TextEncoder().encode(content).length > MAX_BYTES;
  const hasKeyboard = matchMedia("(hover: hover)").matches; // on a phone it would cover the messages

  useEffect(() => {
    if (hasKeyboard) area.current.focus();
    return () => client.setTyping(conversationId, false).catch(() => {});
  }, []);
  useLayoutEffect(() => {
    area.current.style.height = "auto";
    area.current.style.height = `${area.current.scrollHeight}px`;
  }, [text]);

  const write = (written) => {
    setText(written);
    sessionStorage.setItem(draftKey(conversationId), written);
    client.setTyping(conversationId, Boolean(written.trim())).catch(() => {}); // nobody needs to know
  };
  const send = () => {
    if (!content || isTooLong) return;
    client.enqueue({ conversationId, content });
    setText("");
    sessionStorage.removeItem(draftKey(conversationId));
    onsend();
    area.current.focus();
  };
  const onsubmit = (event) => {
    event.preventDefault();
    send();
  };
  const onkeydown = (event) => {
    // Enter also ends the input of a Chinese or Japanese word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };
  return html`<form class="composer" onSubmit=${onsubmit}>
    <textarea ref=${area} rows="1" dir="auto" aria-label=${t("message")} placeholder=${t("message")} value=${text}
      aria-invalid=${isTooLong} onInput=${({ target }) => write(target.value)} onKeyDown=${onkeydown} />
    <${IconButton} icon="send" label=${t("send")} class="icon-button send" disabled=${!content || isTooLong} onClick=${send} />
  </form>`;
}
