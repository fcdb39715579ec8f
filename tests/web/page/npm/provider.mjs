// A client whose tokens come from elsewhere, on a store that others have used: `node provider.mjs gochat.js URL`.
import { pathToFileURL } from "node:url";

const [library, url] = process.argv.slice(2);
const { Client, MemoryStore } = await import(pathToFileURL(library));
const LOGIC = "gochat.api.logic.v1.LogicService";
const account = (name) => ({ username: `${name}${process.pid}`, password: "correct horse" });
const until = async (holds) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
};

const people = {};
for (const name of ["ann", "ben", "cem"]) {
  people[name] = new Client({ url });
  await people[name].register(account(name));
}
const { ann, ben, cem } = people;
/** What an app's backend does, which here knows the passwords. */
async function tokenOf(name) {
  const { username, password } = account(name);
  return (await cem.call(`${LOGIC}/Authenticate`, { username, password })).accessToken;
}

const store = new MemoryStore();
let asked = 0;
const open = (name, options = {}) => new Client({ url, store, tokenProvider: () => (asked++, tokenOf(name)), ...options });
const texts = (client) => client.conversations.map(({ lastMessage }) => lastMessage?.content);
const stored = async (prefix) => (await store.list(prefix)).map(({ content, lastMessage }) => content ?? lastMessage.content);

// One who is there already, and comes back.
let client = open("ann");
await client.start();
await cem.send({ toUserId: ann.userId, content: "for ann" });
await until(() => texts(client)[0] === "for ann");
await until(() => client.connection === "online");
const first = { texts: texts(client), asked, isAnn: client.userId === ann.userId, profile: client.profile.username };
client.close();
await until(() => !cem.outbox.length);
client = open("ann", { fetch: () => Promise.reject(new TypeError("offline")) });
await client.start();
void client.enqueue({ toUserId: cem.userId, content: "by ann" });
await until(() => client.outbox.length === 1);
const unnamed = { texts: texts(client), userId: client.userId, stored: await stored("outbox/") };
client.close();

// Another, on the same store.
let isBroken = true;
client = open("ben", { tokenProvider: async () => {
  if (isBroken) throw new Error("the backend of the app is away");
  return tokenOf("ben");
} });
const sent = client.send({ toUserId: cem.userId, content: "by ben" });
await until(() => client.connection === "offline");
const waiting = { texts: texts(client), states: client.outbox.map(({ state }) => state) };
isBroken = false;
const from = (await sent).fromUserId;
await until(() => texts(client)[0] === "by ben");
const other = { texts: texts(client), isBen: client.userId === ben.userId && from === ben.userId };
client.close();

// By name, on the store of yet another.
client = new Client({ url, store, ...account("cem") });
await client.getProfile();
const named = { isCem: client.userId === cem.userId, owner: (await store.get("owner")) === cem.userId };
client.close();

// A token that was refused is replaced; one of another user ends the session.
let name = "ann";
let token = ""; // of the latest call
let refused = "none";
client = new Client({
  ...{ url, tokenProvider: () => (asked++, tokenOf(name)) },
  fetch: async (resource, options) => {
    token = options.headers.authorization;
    if (token !== refused) return fetch(resource, options);
    return Response.json({ code: "unauthenticated", message: "ended" }, { status: 401 });
  },
});
await client.getProfile();
asked = 0;
refused = token;
await Promise.all(Array.from({ length: 5 }, () => client.getProfile()));
const renewed = { asked, isAnn: client.userId === ann.userId };
name = "ben";
refused = token;
const error = await client.getProfile().catch(({ reason }) => reason);
const changed = { error, connection: client.connection };
client.close();

for (const person of [ann, ben, cem]) person.close();
console.log(JSON.stringify({ first, unnamed, waiting, other, named, renewed, changed }));
