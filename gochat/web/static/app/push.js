// Notifications of this browser, while no page is open: the browser's push service brings them to worker.js.

import { client, html, useEffect, useState } from "./ui.js";
import { t } from "./text.js";
import { ErrorNote } from "./parts.js";

const KEY = "notify"; // the user that this browser notifies; their session may end and begin again

const isPossible = () => "serviceWorker" in navigator && "PushManager" in globalThis && "Notification" in globalThis;

async function subscription() {
  return (await navigator.serviceWorker.ready).pushManager.getSubscription();
}

async function register(found) {
  const { endpoint, keys } = found.toJSON();
  await client.registerPushToken({ platform: "webpush", token: endpoint, ...keys });
}

async function turnOn() {
  if (await Notification.requestPermission() !== "granted") throw new Error(t("notifyDenied"));
  const applicationServerKey = await client.webPushKey();
  const { pushManager } = await navigator.serviceWorker.ready;
  const make = () => pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
  const found = await make().catch(async (error) => {
    const old = error.name === "InvalidStateError" && (await pushManager.getSubscription()); // made with another server's key
    if (!old) throw error;
    await old.unsubscribe();
    return make();
  });
  await register(found);
  localStorage.setItem(KEY, client.userId);
}

async function turnOff() {
  localStorage.removeItem(KEY);
  const found = await subscription();
  if (!found) return;
  await client.unregisterPushToken("webpush", found.endpoint);
  await found.unsubscribe();
}

/** Has the server know this browser again, after a new sign-in, or where the browser has changed its subscription. */
export async function renewPush() {
  if (!isPossible() || Notification.permission !== "granted" || localStorage.getItem(KEY) !== client.userId) return;
  const found = await subscription();
  if (found) await register(found);
}

export function Notifications() {
  const [isOn, setOn] = useState(localStorage.getItem(KEY) === client.userId);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  useEffect(() => {
    if (isPossible()) subscription().then((found) => found ?? setOn(false), () => {});
  }, []);
  const toggle = async () => {
    setBusy(true);
    await (isOn ? turnOff() : turnOn()).then(() => { setOn(!isOn); setError(null); }, setError);
    setBusy(false);
  };
  if (!isPossible()) return null;
  return html`<section>
    <h3>${t("notifications")}</h3>
    <p class="quiet">${t("notifyHint")}</p>
    <label><input type="checkbox" checked=${isOn} disabled=${busy} onChange=${toggle} /> ${t("notifyHere")}</label>
    <${ErrorNote} error=${error} />
  </section>`;
}
