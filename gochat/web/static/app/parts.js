// Small parts that all views use: icons, avatars, dialogs, fields, a list that shows only what is in sight.

import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "./ui.js";
import { errorText, t } from "./text.js";
import { ICONS } from "./icons.js";

export function Icon({ name, label }) {
  const named = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return html`<svg class="icon" viewBox="0 0 24 24" ...${named}>
    ${label && html`<title>${label}</title>`}<path d=${ICONS[name]} />
  </svg>`;
}

export function IconButton({ icon, label, ...others }) {
  return html`<button type="button" class="icon-button" aria-label=${label} title=${label} ...${others}>
    <${Icon} name=${icon} />
  </button>`;
}

/** A picture if there is one in the profile itself, else initials on a colour that belongs to the id. */
export function Avatar({ id, name, avatar = "", online = false, size = "" }) {
  const picture = /^data:image\/(png|jpeg|webp|gif);/.test(avatar) ? avatar : "";
  return html`<span class=${`avatar ${size} hue-${hue(id)}`} aria-hidden="true">
    ${picture ? html`<img src=${picture} alt="" />` : initials(name)}
    ${online && html`<span class="dot" />`}
  </span>`;
}

function hue(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) % 997;
  return sum % 8;
}

function initials(name) {
  const words = (name || "?").split(/[\s._-]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.map((word) => word.match(/[\p{L}\p{N}]/u)[0]);
  if (!letters.length) return "?";
  const isCjk = /\p{Script=Han}/u.test(letters[0]);
  return letters.slice(0, isCjk ? 1 : 2).join("").toLocaleUpperCase();
}

/** A modal dialog: Escape and the button close it, and the focus stays in it. */
export function Dialog({ title, onclose, children }) {
  const dialog = useRef();
  useLayoutEffect(() => dialog.current.showModal(), []); // at once: until then it does not hear Escape
  const onclick = (event) => event.target === dialog.current && onclose(); // on what is behind it
  return html`<dialog ref=${dialog} aria-label=${title} onClose=${onclose} onMouseDown=${onclick}>
    <header>
      <h2>${title}</h2>
      <${IconButton} icon="close" label=${t("close")} onClick=${onclose} />
    </header>
    <div class="body">${children}</div>
  </dialog>`;
}

export function Field({ label, hint, input: ref, multiline = false, ...others }) {
  const id = useId();
  const attributes = { id, ...(hint && { "aria-describedby": `${id}-hint` }), ...others };
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${multiline ? html`<textarea rows="3" ref=${ref} ...${attributes} />` : html`<input ref=${ref} ...${attributes} />`}
    ${hint && html`<small id=${`${id}-hint`}>${hint}</small>`}
  </div>`;
}

export function ErrorNote({ error }) {
  return error ? html`<p class="error" role="alert">${errorText(error)}</p>` : null;
}

/** options: texts by value. */
export function Choice({ label, options, value, onChange }) {
  const id = useId();
  return html`<div class="field"><label for=${id}>${label}</label><select id=${id} value=${value} onChange=${onChange}>
    ${Object.entries(options).map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
  </select></div>`;
}

/** A button that asks once more before it acts. */
export function Confirmed({ label, question, act }) {
  const [isAsking, setAsking] = useState(false);
  const [error, setError] = useState(null);
  if (!isAsking) {
    return html`<p><button type="button" class="danger" onClick=${() => setAsking(true)}>${label}</button></p>`;
  }
  return html`<div class="confirm" role="group" aria-label=${question}>
    <p>${question}</p>
    <${ErrorNote} error=${error} />
    <button type="button" class="danger full" onClick=${() => act().catch(setError)}>${label}</button>
    <button type="button" class="secondary" onClick=${() => setAsking(false)}>${t("cancel")}</button>
  </div>`;
}

/** Asks before something that cannot be taken back. */
export function Ask({ title, question, label, act, onclose, children }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    await act().then(onclose, (failed) => {
      setError(failed);
      setBusy(false);
    });
  };
  return html`<${Dialog} title=${title} onclose=${onclose}>
    <p>${question}</p>
    ${children}
    <${ErrorNote} error=${error} />
    <div class="choices">
      <button type="button" class="secondary" onClick=${onclose}>${t("cancel")}</button>
      <button type="button" class="danger full" disabled=${busy} onClick=${run}>${label}</button>
    </div>
  <//>`;
}

/** A list of rows of one height, of which only those in sight exist. row(item): what is in one. */
export function FixedList({ items, height, label, keyOf, row, empty }) {
  const list = useRef();
  const [{ first, count }, setRange] = useState({ first: 0, count: 20 });
  const [, update] = useState(0);
  const look = () => {
    const { scrollTop, clientHeight } = list.current;
    const range = { first: Math.floor(scrollTop / height), count: Math.ceil(clientHeight / height) + 1 };
    if (range.first !== first || range.count !== count) setRange(range);
  };
  useLayoutEffect(look);
  useEffect(() => {
    const observer = new ResizeObserver(() => update((times) => times + 1));
    observer.observe(list.current);
    return () => observer.disconnect();
  }, []);
  const onkeydown = (event) => moveFocus(event, list.current, height);
  const from = Math.max(0, first - 5);
  const shown = items.slice(from, first + count + 5);
  return html`<div class="list" ref=${list} onScroll=${look} onKeyDown=${onkeydown} tabindex="-1">
    ${!items.length && empty}
    <ul role="list" aria-label=${label} style=${{ height: `${items.length * height}px` }}>
      ${shown.map((item, index) => html`<li
        key=${keyOf(item)}
        aria-setsize=${items.length}
        aria-posinset=${from + index + 1}
        style=${{ top: `${(from + index) * height}px`, height: `${height}px` }}
      >${row(item, from + index)}</li>`)}
    </ul>
  </div>`;
}

/** Arrow keys go from row to row. */
function moveFocus(event, list, height) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target.closest("li");
  if (!step || !row) return;
  event.preventDefault();
  const wanted = String(Number(row.ariaPosInSet) + step);
  list.scrollTop = Math.min(list.scrollTop, (wanted - 1) * height);
  list.scrollTop = Math.max(list.scrollTop, wanted * height - list.clientHeight);
  const target = [...list.querySelectorAll("li")].find(({ ariaPosInSet }) => ariaPosInSet === wanted);
  target?.querySelector("a, button").focus();
}
