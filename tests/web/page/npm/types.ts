// What an app does with gochat.js, for the type checker alone.
import { ChatError, Client, MemoryStore, type ChatEvent, type Conversation, type Message } from "./gochat.js";

const chat = new Client({ url: "http://127.0.0.1:8080", store: new MemoryStore(), tokenProvider: async () => "token" });

export async function talk(): Promise<void> {
  await chat.signIn("ann", "a password");
  const stop: () => void = chat.on("connection", (connection) => console.log(connection === "online"));
  const sent: Message = await chat.send({ toUserId: "u1", content: "hello" });
  const { messages, hasMore } = await chat.history(sent.conversationId, { limit: 10 });
  const first: Conversation | undefined = chat.conversations[0];
  console.log(messages.at(-1)?.createdAt.toFixed(), hasMore satisfies boolean, first?.lastMessage?.content);
  const group = await chat.createGroup({ name: "Walkers", memberIds: ["u1"] });
  await chat.addMembers(group.groupId, ["u2"]);
  for await (const event of chat.events()) describe(event);
  stop();
}

export async function act(groupId: string, other: string): Promise<void> {
  const sent = await chat.send({ conversationId: groupId, content: "hi", replyTo: "m1", mentions: [other] });
  const { message, editedAt, reactions, reply } = await chat.edit(sent.messageId, "hello", { mentions: "all" });
  console.log(message.content, editedAt.toFixed(), reactions[0]?.userIds.length, reply?.fromUserId);
  await chat.react(sent.messageId, "👍");
  const { readCount, receipts } = await chat.receipts(sent.messageId);
  console.log(readCount, receipts.map(({ userId }) => userId));
  const { mutedUntil } = await chat.updateSettings(groupId, { mutedUntil: Infinity, pinned: true });
  const { conversations, nextPageToken } = await chat.listConversations({ unread: true, type: "group" });
  console.log(mutedUntil, conversations[0]?.state.info.name, nextPageToken);
  await chat.setRole(groupId, other, "admin");
  await chat.updateGroupSettings(groupId, { joining: "JOINING_APPROVAL", slowModeSeconds: 10 });
  const { token } = await chat.createInvitation(groupId, { maxUses: 3 });
  console.log((await chat.invitation(token)).memberCount);
}

function describe(event: ChatEvent): string {
  switch (event.type) {
    case "messageSent":
    case "messageUpdated":
      return event.message.content;
    case "read":
      return `${event.userId} ${event.unreadCount + 1}`;
    case "reactionChanged":
      return event.added ? event.reaction : String(event.count);
    case "joinRequestChanged":
      return event.state satisfies string;
    case "typing":
      return event.typing ? event.userId : "";
    default:
      return event.type;
  }
}

export function reasonOf(error: unknown): string {
  if (!(error instanceof ChatError)) return "";
  // @ts-expect-error: there is no such code
  if (error.code === "no_code") return "";
  return error.fields["content"] ?? error.reason;
}

// @ts-expect-error: a message has a content
void chat.send({ toUserId: "u1" });
// @ts-expect-error: there is no such notice
chat.on("nothing", () => undefined);
// @ts-expect-error: an owner is made by transferOwnership()
void chat.setRole("g1", "u1", "owner");
