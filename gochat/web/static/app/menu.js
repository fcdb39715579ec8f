// Menus: a list of what one can do, over all else, for the pointer, the keyboard and the finger.

import { html, useEffect, useLayoutEffect, useRef } from "./ui.js";
import { Icon } from "./parts.js";

const GAP = 6; // pixels between what it belongs to and the window's edges
const PRESS_MS = 500;

/** A box beside what it belongs to; Escape and a press elsewhere close it. anchor: an element, or a point { x, y }. */
export function Popover({ anchor, onclose, children, ...others }) {
  const box = useRef();
  useLayoutEffect(() => {
    const opener = document.activeElement;
    const { current: element } = box;
    element.showPopover();
    place(element, anchor);
    (element.querySelector("[data-first]") ?? element.querySelector("button") ?? element).focus({ preventScroll: true });
    return () => {
      if (document.activeElement === document.body || element.contains(document.activeElement)) opener?.focus?.({ preventScroll: true });
    };
  }, []);
  useEffect(() => {
    const onpress = ({ target }) => !box.current?.contains(target) && onclose();
    document.addEventListener("pointerdown", onpress, true);
    addEventListener("resize", onclose);
    return () => {
      document.removeEventListener("pointerdown", onpress, true);
      removeEventListener("resize", onclose);
    };
  });
  const onkeydown = (event) => {
    if (event.key === "Escape" || event.key === "Tab") {
      event.preventDefault();
      event.stopPropagation();
      onclose();
    } else moveFocus(event, box.current);
  };
  return html`<div ref=${box} popover="manual" tabindex="-1" onKeyDown=${onkeydown} ...${others}
    class=${`popover ${others.class ?? ""}`}>${children}</div>`;
}

function place(element, anchor) {
  const point = { left: anchor.x, right: anchor.x, top: anchor.y, bottom: anchor.y };
  const { left, right, top, bottom } = anchor.getBoundingClientRect?.() ?? point;
  const { offsetWidth: width, offsetHeight: height } = element;
  const isRight = (left + right) / 2 > innerWidth / 2;
  const x = Math.max(GAP, Math.min(isRight ? right - width : left, innerWidth - width - GAP));
  const below = bottom + GAP;
  const y = below + height <= innerHeight - GAP ? below : Math.max(GAP, Math.min(top - height - GAP, innerHeight - height - GAP));
  element.style.setProperty("--x", `${x}px`);
  element.style.setProperty("--y", `${y}px`);
}

/** Arrow keys go from button to button: by one, or in a grid (data-columns) by a row. */
function moveFocus(event, box) {
  const grid = event.target.closest("[data-columns]");
  const columns = Number(grid?.dataset.columns ?? 1);
  const steps = { ArrowDown: columns, ArrowUp: -columns, ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
  const step = steps[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const buttons = [...box.querySelectorAll("button:enabled")];
  const at = buttons.indexOf(document.activeElement);
  const inGrid = grid ? [...grid.querySelectorAll("button")] : buttons;
  const leaves = Math.abs(step) > 1 && Number.isFinite(step) && !inGrid.includes(buttons[at + step]);
  const wanted = leaves ? buttons.indexOf(step > 0 ? inGrid.at(-1) : inGrid[0]) + Math.sign(step) : at + step;
  const index = Number.isFinite(step) ? (wanted + buttons.length) % buttons.length : step > 0 ? buttons.length - 1 : 0;
  buttons[index]?.focus();
}

/** items: { label, icon, act, isDanger, isChecked }, or null for a line between. */
export function Menu({ label, anchor, items, onclose, children }) {
  const run = (act) => {
    onclose();
    act();
  };
  return html`<${Popover} anchor=${anchor} onclose=${onclose} role="menu" aria-label=${label} class="menu">
    ${children}
    ${items.map((item, index) => item
      ? html`<button type="button" key=${item.label} role="menuitem" tabindex="-1" onClick=${() => run(item.act)}
          class=${item.isDanger ? "item warning" : "item"} data-first=${index === 0 || undefined}>
          <${Icon} name=${item.icon} /><span dir="auto">${item.label}</span>
        </button>`
      : html`<hr key=${`line ${index}`} />`)}
  <//>`;
}

let press = { timer: 0, isLong: false }; // there is one at a time

/** Handlers for who presses long, or with the other button. open(point) */
export function onLongPress(open) {
  const stop = () => clearTimeout(press.timer);
  return {
    onContextMenu(event) {
      if (event.target.closest("a[target]") || !getSelection().isCollapsed) return;
      event.preventDefault();
      event.stopPropagation();
      stop();
      open({ x: event.clientX, y: event.clientY });
    },
    onTouchStart(event) {
      stop();
      event.stopPropagation();
      const [{ clientX: x, clientY: y }] = event.touches;
      const act = () => {
        press.isLong = true;
        open({ x, y });
      };
      press = { timer: setTimeout(act, PRESS_MS), isLong: false };
    },
    onTouchMove: stop,
    onTouchCancel: stop,
    onTouchEnd(event) {
      stop();
      if (press.isLong) event.preventDefault(); // else it is a press too
    },
  };
}
