// What a client does with a stream that leaves things out, says them twice or begins again, and with a token that has
// ended: `node gaps.mjs gochat.js URL`.
import { pathToFileURL } from "node:url";

const [library, url] = process.argv.slice(2);
const { Client, MemoryStore } = await import(pathToFileURL(library));
const account = (name) => ({ username: `${name}${process.pid}`, password: "correct horse" });
const ann = new Client({ url });
await ann.register(account("ann"));

let change = (json) => [json]; // what becomes of each response of the stream
const texts = (json) => (json.batch?.events ?? []).map(({ messageSent }) => messageSent?.message.content);
const came = new Set(); // texts that the stream brought, whatever became of them
let token = ""; // of the latest call
let refused = "no token";
let refreshes = 0;
async function changed(resource, options) {
  if (resource.endsWith("/RefreshToken")) refreshes++;
  token = options.headers.authorization;
  if (token === refused) return Response.json({ code: "unauthenticated", message: "ended" }, { status: 401 });
  const response = await fetch(resource, options);
  if (!resource.endsWith("/Subscribe")) return response;
  return new Response(response.body.pipeThrough(new TransformStream({ transform: rewrite })), response);
}

function rewrite(chunk, controller) {
  for (let at = 0; at < chunk.length; ) {
    const size = new DataView(chunk.buffer, chunk.byteOffset + at).getUint32(1);
    const json = JSON.parse(new TextDecoder().decode(chunk.subarray(at + 5, at + 5 + size)));
    texts(json).forEach((text) => came.add(text));
    for (const each of change(json)) {
      const data = new TextEncoder().encode(JSON.stringify(each));
      const header = new Uint8Array(5);
      header[0] = chunk[at];
      new DataView(header.buffer).setUint32(1, data.length);
      controller.enqueue(header);
      controller.enqueue(data);
    }
    at += 5 + size;
  }
}

const store = new MemoryStore();
const ben = new Client({ url, store, fetch: changed });
await ben.register(account("ben"));
await new Promise((resolve) => ben.on("connection", (connection) => connection === "online" && resolve()));
const heard = [];
let wake = () => {};
ben.on("event", ({ type, message }) => type === "messageSent" && (heard.push(message.content), wake()));
const until = async (count) => {
  while (heard.length < count) await new Promise((resolve) => (wake = resolve));
  return [...heard];
};
const say = (content) => ann.send({ toUserId: ben.userId, content });

const arrived = async (text) => { // or else the next one might come in the same response
  while (!came.has(text)) await new Promise((resolve) => setTimeout(resolve, 5));
};

await say("1");
await until(1);
change = (json) => (texts(json).some((text) => ["2", "3", "4"].includes(text)) ? [] : [json, json, json]);
for (const text of ["2", "3", "4"]) await say(text);
await arrived("4");
await say("5");
const gap = await until(5);
const typing = new Promise((resolve) => ben.on("event", ({ type }) => type === "typing" && resolve()));
await ann.setTyping(ann.conversations[0].conversationId);
await typing; // what came before it has been heard
const again = [...heard];

change = (json) => {
  if (!texts(json).some(Boolean)) return [json];
  if (texts(json).includes("6")) return [];
  return [{ resync: { reason: "REASON_TOO_OLD" }, cursor: json.cursor }];
};
await say("6");
await arrived("6");
await say("7");
const resync = await until(7);

change = (json) => [json];
await ben.getProfile();
refused = token;
const answers = await Promise.all(Array.from({ length: 10 }, () => ben.getProfile()));

// Messages that go, in any order, with the next response: one that is read, one, one that is recalled first, the last.
const { conversationId } = ben.conversations[0];
const { messages } = await ben.history(conversationId);
const [second, third, fourth, last] = [messages[5], messages[4], messages[3], messages[0]];
await ben.markRead(conversationId, second.messageId);
while (ben.conversation(conversationId).unreadCount === 7) await new Promise((resolve) => setTimeout(resolve, 5));
const unread = [];
const after = async (event) => {
  const happened = new Promise((resolve) => ben.on("event", ({ type }) => type === Object.keys(event)[0] && resolve()));
  change = (json) => {
    change = (other) => [other];
    return [{ batch: { events: [{ at: "1", conversationId, actorId: ann.userId, ...event }] } }, json];
  };
  await ann.setTyping(conversationId);
  await ann.setTyping(conversationId, false);
  await happened;
  unread.push(ben.conversation(conversationId).unreadCount);
};
await after({ messageDeleted: { messageId: second.messageId } });
await after({ messageDeleted: { messageId: third.messageId } });
await after({ messageUpdated: { message: { ...fourth, status: 4 } } });
await after({ messageDeleted: { messageId: fourth.messageId } });
await after({ messageDeleted: { messageId: last.messageId } });

change = () => [];
const { messageId } = await ben.send({ conversationId, content: "without its event" });
const kept = (await store.get(`message/${messageId}`))?.message.content;
console.log(JSON.stringify({ gap, again, resync, refreshes, answers: answers.length, unread, kept }));
ann.close();
ben.close();
