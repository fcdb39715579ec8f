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
