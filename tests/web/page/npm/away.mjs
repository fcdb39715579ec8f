// Comes back to so many conversations that are new: `node away.mjs gochat.js URL COUNT`.
import { pathToFileURL } from "node:url";

const [library, url, count] = process.argv.slice(2);
const { Client, MemoryStore } = await import(pathToFileURL(library));
const account = (name) => ({ username: `${name}${process.pid}`, password: "correct horse" });
const until = async (holds) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
};

const ann = new Client({ url });
await ann.register(account("ann"));
const store = new MemoryStore();
let ben = new Client({ url, store });
await ben.register(account("ben"));
const benId = ben.userId;
await until(() => ben.connection === "online");
ben.close();

for (let number = 0; number < Number(count); number++) {
  const { groupId } = await ann.createGroup({ name: `Group ${number}`, memberIds: [benId] });
  await ann.send({ conversationId: groupId, content: "hello" });
}
await ann.send({ toUserId: benId, content: "that is all" });
let isAway = false;
let tries = 0;
const fetching = (resource, options) => {
  tries += resource.endsWith("/Subscribe");
  return isAway ? Promise.reject(new TypeError("fetch failed")) : fetch(resource, options);
};
ben = new Client({ url, store, fetch: fetching });
await ben.start();
await until(() => ben.conversations[0]?.lastMessage?.content === "that is all");
const groups = ben.conversations.filter(({ type }) => type === "group");
const unread = groups.filter(({ unreadCount }) => unreadCount === 1);

// The server is away for long, and back: who hears of it by a send does not wait for the stream's next try.
Math.random = () => 0.999;
isAway = true;
ben.reconnect();
tries = 0;
await until(() => tries === 4); // the next one is 4 seconds later
isAway = false;
await ben.send({ toUserId: ann.userId, content: "are you back?" });
const began = Date.now();
await until(() => ben.connection === "online");
const waited = Math.floor((Date.now() - began) / 1000);
console.log(JSON.stringify({ groups: groups.length, unread: unread.length, waited }));
ann.close();
ben.close();
