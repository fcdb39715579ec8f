// What the page keeps in the client's store, for all tabs and for when there is no server: it goes with the sign-out.

import { client } from "./ui.js";

const PREFIX = "app/";
let pending = null; // until all that happens at once has happened

/** value: undefined to remove it. */
export function keep(key, value) {
  if (!pending) queueMicrotask(write);
  pending = { ...pending, [PREFIX + key]: value };
}

function write() {
  const changes = pending;
  pending = null;
  if (client.userId) client.store.write(changes).catch(() => {}); // the page does without it
}

/** The values of all keys that begin so. */
export async function kept(prefix) {
  await client.start();
  return client.store.list(PREFIX + prefix);
}
