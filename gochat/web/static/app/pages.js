// Lists that are read page by page.

import { html, useRef, useState } from "./ui.js";
import { t } from "./text.js";

/** load(pageToken) -> { items, nextPageToken }. items: null until some are there. again(): reads as many as there were once more. */
export function usePages(load) {
  const [state, setState] = useState({ items: null, nextPageToken: "", error: null });
  const known = useRef(state);
  const reading = useRef(Promise.resolve());
  const isDue = useRef(false); // a reading that has not begun will see all changes until it does
  const set = (changes) => setState((known.current = { ...known.current, error: null, ...changes }));
  const read = async (before, pageToken, wanted) => {
    const items = [...before];
    do {
      const page = await load(pageToken);
      items.push(...page.items);
      pageToken = page.nextPageToken;
    } while (pageToken && items.length < wanted);
    set({ items, nextPageToken: pageToken });
  };
  const inTurn = (act) => (reading.current = reading.current.then(act).catch((error) => set({ error })));
  const again = () => {
    if (isDue.current) return reading.current;
    isDue.current = true;
    return inTurn(() => {
      isDue.current = false;
      return read([], "", known.current.items?.length ?? 0);
    });
  };
  const more = () => inTurn(() => known.current.nextPageToken && read(known.current.items, known.current.nextPageToken, 0));
  return { ...state, again, more, fail: (error) => set({ error }) };
}

export function More({ nextPageToken, more }) {
  if (!nextPageToken) return null;
  return html`<button type="button" class="secondary" onClick=${more}>${t("showMore")}</button>`;
}
