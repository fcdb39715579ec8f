// Talks to itself through a network with faults: `node faults.mjs gochat.js URL COUNT SEED`. Prints what was seen.
import { writeFileSync, readFileSync, existsSync, rmSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [library, url, count, seed] = process.argv.slice(2);
const { Client, MemoryStore } = await import(pathToFileURL(library));

let state = Number(seed);
const random = () => ((state = (state * 1103515245 + 12345) % 2147483648) / 2147483648);
let faults = 0;

/** Requests that never arrive, answers that never come back, streams that break off in the middle of a message. */
async function unreliable(resource, options) {
  const isStream = resource.endsWith("/Subscribe");
  const kind = random();
  if (!isStream && kind < 0.15) return lost();
  const response = await fetch(resource, options);
  if (!isStream) return kind < 0.3 ? lost() : response;
  const { readable, writable } = new TransformStream();
  const after = 2000 + random() ** 2 * 100_000; // bytes
  const writer = writable.getWriter();
  pipe(response.body.getReader(), writer, after).catch((error) => writer.abort(error));
  return new Response(readable, response);
}

function lost() {
  faults++;
  throw new TypeError("fetch failed");
}

async function pipe(reader, writer, after) {
  for (let sent = 0; ; ) {
    const { value, done } = await reader.read();
    if (done) return writer.close();
    const piece = value.subarray(0, Math.ceil(after - sent));
    await writer.write(piece);
    if ((sent += piece.length) < after) continue;
    faults++;
    await reader.cancel();
    return writer.abort(new TypeError("terminated"));
  }
}

/** A store in a file, which a client that is started again finds as it was left. */
class FileStore extends MemoryStore {
  constructor(file) {
    super();
    this.file = file;
    this.all = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
    super.write(this.all);
  }

  async write(changes) {
    if (this.isDead) return;
    await super.write(changes);
    Object.assign(this.all, changes);
    writeFileSync(this.file, JSON.stringify(this.all));
  }
}

const wanted = Array.from({ length: Number(count) }, (_, number) => `message ${number}`);
const password = "correct horse";
const reliable = new Client({ url });
await reliable.register({ username: `a${process.pid}x${seed}`, password });
const file = `faults-${process.pid}.json`;
let store;
const open = () => {
  store = new FileStore(file);
  return new Client({ url, fetch: unreliable, store, username: `b${process.pid}x${seed}`, password });
};
const setUp = new Client({ url });
await setUp.register({ username: `b${process.pid}x${seed}`, password });
setUp.close();
const seen = { live: new Set(), own: new Set() };

let receiver = open();
let restarts = 0;
const heard = new Promise((resolve) => {
  const listen = async () => {
    const mine = receiver;
    for await (const event of mine.events()) {
      if (event.type !== "messageSent") continue;
      const from = event.actorId === mine.userId ? seen.own : seen.live;
      from.add(event.message.content);
      if (seen.live.size + seen.own.size === 2 * wanted.length) return resolve();
      if (from === seen.live && seen.live.size === 40 * (restarts + 1)) {
        restarts++; // without a word to the server, and in the middle of its sends
        store.isDead = true;
        mine.close();
        receiver = open();
        return listen();
      }
    }
  };
  listen();
});
await new Promise((resolve) => receiver.on("connection", (connection) => connection === "online" && resolve()));
const toUserId = receiver.userId;
for (const [number, content] of wanted.entries()) {
  void receiver.enqueue({ toUserId: reliable.userId, content: `back ${content}` });
  await reliable.send({ toUserId, content });
  if (number % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
}
await heard;
const [{ conversationId }] = reliable.conversations;
const history = [];
for (let after = ""; ; after = history.at(-1).messageId) {
  const { messages, hasMore } = await reliable.messagesAfter(conversationId, after, { limit: 200 });
  history.push(...messages);
  if (!hasMore) break;
}
const contents = history.map(({ content }) => content);
const of = (list, prefix) => list.filter((content) => content.startsWith(prefix));
console.log(JSON.stringify({
  ...{ faults, restarts },
  ...{ live: [...seen.live], own: [...seen.own].map((content) => content.replace("back ", "")) },
  stored: { live: of(contents, "message"), own: of(contents, "back").map((content) => content.replace("back ", "")) },
}));
receiver.close();
reliable.close();
rmSync(file);
