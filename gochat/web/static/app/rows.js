// A column of rows of any height, held at its end or at what one reads. Only the rows in sight exist, so it may be long.

import { html, useLayoutEffect, useMemo, useRef, useState, useEffect } from "./ui.js";
import { IconButton } from "./parts.js";
import { t } from "./text.js";

const ESTIMATE = 60; // pixels of a row that was never seen
const MARGIN = 600; // pixels beyond what is in sight
const SETTLE_MS = 200; // until the heights around a row that is gone to are known
const NEAR = 80; // pixels from an end that count as being there

/**
 * rows: with a key each; one that floats may be elsewhere when rows are added. show(row): what is in one. onstart(): called
 * near the first row; onend(isAtEnd): whether the last row is in sight. sends: each change goes to the end. target: each
 * other one goes to the row of that key. onkeys(event): keys that are pressed in it.
 */
export function Rows({ rows, show, label, onstart, onend, sends, target, onkeys }) {
  const view = useRef();
  const heights = useRef(new Map()).current;
  const anchor = useRef({ isAtEnd: true, key: null, distance: 0 }).current;
  const seenSends = useRef(sends);
  const seenTarget = useRef(target);
  const [, update] = useState(0);
  const again = () => update((count) => count + 1);

  if (seenSends.current !== sends) anchor.isAtEnd = true;
  seenSends.current = sends;
  if (target && seenTarget.current !== target) {
    Object.assign(anchor, { isAtEnd: false, key: target.key, distance: -(view.current?.clientHeight ?? 0) / 3 });
  }
  seenTarget.current = target;
  const offsets = new Float64Array(rows.length + 1);
  rows.forEach((row, index) => (offsets[index + 1] = offsets[index] + (heights.get(row.key) ?? ESTIMATE)));
  const indexOf = useMemo(() => new Map(rows.map((row, index) => [row.key, index])), [rows]);

  const height = view.current?.clientHeight || 800;
  const top = wantedTop();
  const first = rowAt(top - MARGIN);
  const last = Math.min(rows.length, rowAt(top + height + MARGIN) + 1);

  function wantedTop() {
    if (anchor.isAtEnd) return Math.max(0, offsets[rows.length] - height);
    const index = indexOf.get(anchor.key);
    return index === undefined ? (view.current?.scrollTop ?? 0) : Math.max(0, offsets[index] + anchor.distance);
  }

  function rowAt(y) {
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (offsets[middle + 1] > y) high = middle;
      else low = middle + 1;
    }
    return Math.max(0, Math.min(low, rows.length - 1));
  }

  function look() {
    const { scrollTop, scrollHeight, clientHeight } = view.current;
    const index = rowAt(scrollTop);
    const isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    const hasMoved = Math.abs(scrollTop - top) > MARGIN / 2 || isAtEnd !== anchor.isAtEnd;
    let held = index;
    while (rows[held]?.floats && held < rows.length - 1) held++;
    Object.assign(anchor, { isAtEnd, key: rows[held]?.key, distance: scrollTop - offsets[held] });
    if (hasMoved || scrollTop < MARGIN) again();
  }

  /** Takes the heights as they are; where they were not as thought, what one reads stays where it is. */
  function measure() {
    let isOff = false;
    for (const element of view.current.querySelectorAll("[data-key]")) {
      const actual = element.getBoundingClientRect().height;
      if (Math.abs(actual - (heights.get(element.dataset.key) ?? -1)) < 0.5) continue;
      heights.set(element.dataset.key, actual);
      isOff = true;
    }
    return isOff;
  }

  useLayoutEffect(() => {
    if (measure()) return again();
    const position = anchor.isAtEnd ? view.current.scrollHeight : top;
    if (Math.abs(view.current.scrollTop - position) >= 1) view.current.scrollTop = position;
    onend(anchor.isAtEnd);
    if (view.current.scrollTop < MARGIN) onstart();
  });

  useEffect(() => {
    const observer = new ResizeObserver(() => again());
    observer.observe(view.current);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    const timer = target && setTimeout(look, SETTLE_MS);
    return () => clearTimeout(timer);
  }, [target]);

  const toEnd = () => {
    anchor.isAtEnd = true;
    again();
  };
  return html`<div class="rows-frame">
    <div class="rows" ref=${view} onScroll=${look} onKeyDown=${onkeys} role="log" aria-live="off" aria-label=${label} tabindex="0">
      <div style=${{ height: `${offsets[rows.length]}px` }}>
        <div style=${{ transform: `translateY(${offsets[first] ?? 0}px)` }}>
          ${rows.slice(first, last).map((row) => html`<div key=${row.key} data-key=${row.key} class="row">${show(row)}</div>`)}
        </div>
      </div>
    </div>
    ${!anchor.isAtEnd && html`<${IconButton} icon="down" label=${t("toNewest")} class="icon-button to-end" onClick=${toEnd} />`}
  </div>`;
}
