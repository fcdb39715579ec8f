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
ben = new Client({ url, store });
await ben.start();
await until(() => ben.conversations[0]?.lastMessage?.content === "that is all");
const groups = ben.conversations.filter(({ type }) => type === "group");
const unread = groups.filter(({ unreadCount }) => unreadCount === 1);
console.log(JSON.stringify({ groups: groups.length, unread: unread.length }));
ann.close();
ben.close();
