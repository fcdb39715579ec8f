// Small parts that all views use: icons, avatars, dialogs, fields, a list that shows only what is in sight.

import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "./ui.js";
import { errorText, t } from "./text.js";

const ICONS = {
  back: "M15 5l-7 7 7 7",
  check: "M4 12.500l5 5L20 6.500",
  checks: "M2 12.500l5 5L17 7M12 17l1 .5L23 7",
  clock: "M12 7v5l3 2M12 21a9 9 0 100-18 9 9 0 000 18z",
  alert: "M12 8v5M12 16.500v.01M12 21a9 9 0 100-18 9 9 0 000 18z",
  close: "M6 6l12 12M18 6L6 18",
  down: "M6 9l6 6 6-6",
  edit: "M4 20l1-4L16 5l3 3L8 19l-4 1zM13.500 7.500l3 3",
  group: "M9 11a3.500 3.500 0 100-7 3.500 3.500 0 000 7zM2.500 20c0-3.600 2.900-6 6.500-6s6.500 2.400 6.500 6M16 4.500a3.500 3.500 0 010 6.500M18 14.500c2.200.9 3.500 2.900 3.500 5.500",
  info: "M12 11v5.500M12 7.500v.01M12 21a9 9 0 100-18 9 9 0 000 18z",
  offline: "M3 3l18 18M8.500 16a5 5 0 017 0M5 12.500a10 10 0 014-2.500M19 12.500a10 10 0 00-5-2.900M12 19.500v.01",
  search: "M11 18a7 7 0 100-14 7 7 0 000 14zM20.500 20.500L16 16",
  settings: "M4 7h9M17.500 7H20M4 17h2.500M11 17h9M15.500 9a2 2 0 100-4 2 2 0 000 4zM8.500 19a2 2 0 100-4 2 2 0 000 4z",
  send: "M4 12l16-8-6 16-2.500-6.500L4 12zM11.500 13.500L20 4",
};

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
