// What all parts of the page share: the view library, the client, and the texts.

import { h, render } from "../vendor/preact.js";
import { useEffect, useId, useLayoutEffect, useMemo, useReducer, useRef, useState } from "../vendor/hooks.js";
import htm from "../vendor/htm.js";
import { Client } from "../gochat.js";

export { render, useEffect, useId, useLayoutEffect, useMemo, useRef, useState };
export const html = htm.bind(h);
export const client = new Client();

/** Shows the component again whenever one of these happens: events of the client by their names. */
export function useUpdates(...types) {
  const [, update] = useReducer((count) => count + 1, 0);
  useEffect(() => {
    const stop = types.map((type) => client.on(type, update));
    update(); // what happened between the first showing and now
    return () => stop.forEach((each) => each());
  }, types);
  return update;
}

/** [tell, useIt]: components that call useIt() are shown again by tell(). */
export function signal() {
  const handlers = new Set();
  const tell = () => handlers.forEach((handler) => handler());
  const useIt = () => {
    const [, update] = useReducer((count) => count + 1, 0);
    useEffect(() => {
      handlers.add(update);
      return () => handlers.delete(update);
    }, []);
  };
  return [tell, useIt];
}

/** The conversation that the address names, so that the browser's own back button works. */
export function selectedId() {
  return /^#\/c\/(.+)$/.exec(location.hash)?.[1] ?? "";
}

/** Of the link by which somebody was invited to a group. */
export function invitationToken() {
  return /^#\/join\/([\w-]+)$/.exec(location.hash)?.[1] ?? "";
}

export function select(conversationId) {
  if (conversationId) location.hash = `/c/${conversationId}`;
  else if (location.hash) history.pushState(null, "", location.pathname), dispatchEvent(new HashChangeEvent("hashchange"));
}

/** What to send for a text that may be empty: in an update "" means unchanged, but a space is one. */
export function emptied(text, before) {
  return text.trim() || (before && " ");
}

/** A form that calls submit(values) with what its fields hold, and shows that it works, or what went wrong. */
export function useForm(submit) {
  const [state, setState] = useState({ busy: false, error: null });
  const onSubmit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    if (state.busy) return;
    setState({ busy: true, error: null });
    try {
      await submit(Object.fromEntries(new FormData(form)), form);
      setState({ busy: false, error: null });
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return { ...state, onSubmit };
}
