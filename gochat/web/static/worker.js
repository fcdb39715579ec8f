// Has the page open without the server: its files as they were last time, where they cannot be had. index.html lists them.

const CACHE = "page";

self.addEventListener("install", (event) => event.waitUntil(keepPage()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (isOfPage(event.request)) event.respondWith(freshOrKept(event.request));
});

/** What the browser loads for the page, and nothing that a script asks for. */
function isOfPage({ url, method, mode, destination }) {
  const { origin, pathname } = new URL(url);
  return origin === location.origin && method === "GET" && destination && (mode !== "navigate" || pathname === "/");
}

async function keepPage() {
  const cache = await caches.open(CACHE);
  const page = await (await fetch("/")).text();
  await cache.addAll(["/", ...Array.from(page.matchAll(/(?:href|src)="(\/[^"]+)"/g), ([, path]) => path)]);
  await self.skipWaiting();
}

async function freshOrKept(request) {
  const cache = await caches.open(CACHE);
  const key = request.mode === "navigate" ? "/" : request; // without a query, which may hold a code to sign in with
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(key, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(key, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

// Notifications of messages, as gochat/push/delivery.py makes them.

self.addEventListener("push", (event) => event.waitUntil(notify(event.data?.json() ?? {})));
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data));
});

const pages = () => self.clients.matchAll({ type: "window", includeUncontrolled: true });

async function notify({ conversation_id: id = "", title = "GoChat", body = "" }) {
  if ((await pages()).some(({ focused }) => focused)) return;
  const text = body || (navigator.language.startsWith("zh") ? "新消息" : "New message");
  await self.registration.showNotification(title, { body: text, tag: id, renotify: Boolean(id), icon: "/icon.svg", data: id });
}

/** The conversation, in a page that is open, or a new one. */
async function open(id) {
  const [page] = await pages();
  if (!page) return self.clients.openWindow(`/#/c/${id}`);
  page.postMessage({ open: id });
  return page.focus();
}
