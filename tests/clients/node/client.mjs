// A client that knows nothing of GoChat but its .proto files.
//
//   node client.mjs PROTO_FOLDER HOST:PORT USERNAME FRIEND PASSWORD
//
// signs both users in, drives the server and prints what it saw as one JSON object.

import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const [protos, address, username, friend, password] = process.argv.slice(2);
const files = [
  "gochat/api/logic/v1/logic.proto",
  "gochat/api/session/v1/session.proto",
  "google/rpc/status.proto",
  "google/rpc/error_details.proto",
];
const definition = protoLoader.loadSync(files, {
  includeDirs: [protos, fileURLToPath(new URL(".", import.meta.url))],
  keepCase: true,
  defaults: true,
  longs: Number,
  enums: String,
});
const { gochat } = grpc.loadPackageDefinition(definition);
const insecure = grpc.credentials.createInsecure();
const logic = new gochat.api.logic.v1.LogicService(address, insecure);
const session = new gochat.api.session.v1.SessionService(address, insecure);

// Resolves to {response, requestId}; a refused call resolves to {error, requestId}.
function call(client, rpc, request, { token, ...headers } = {}) {
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
  return new Promise((resolve) => {
    let answer;
    client[rpc](request, metadata, { deadline: Date.now() + 20_000 }, (error, response) => {
      answer = error ? { error: errorOf(error) } : { response };
    }).on("status", (status) => {
      // The callback may come after this event.
      setImmediate(() => resolve({ ...answer, requestId: status.metadata.get("x-request-id")[0] }));
    });
  });
}

function errorOf({ code, details, metadata }) {
  const [packed] = metadata.get("grpc-status-details-bin");
  const status = packed && definition["google.rpc.Status"].deserialize(packed);
  return {
    status: grpc.status[code],
    message: details,
    packed: status && { code: grpc.status[status.code], message: status.message },
    details: Object.fromEntries((status?.details ?? []).map(unpacked)),
  };
}

function unpacked({ type_url, value }) {
  const type = type_url.split("/").at(-1);
  return [type, definition[type].deserialize(value)];
}

async function ok(...args) {
  const { response, error } = await call(...args);
  if (error) throw new Error(`${args[1]}: ${JSON.stringify(error)}`);
  return response;
}

const saw = {};
const mine = await ok(logic, "Authenticate", { username, password, device_id: "node" });
const theirs = await ok(logic, "Authenticate", { username: friend, password });
const [me, them] = [{ token: mine.access_token }, { token: theirs.access_token }];
const friendId = theirs.user_info.user_id;
saw.signed_in = { user: mine.user_info, friend: theirs.user_info, expires_in: mine.expires_in };

const message = { to_user_id: friendId, content: "你好 from node 🌍", metadata: { client_msg_id: "node-1", color: "red" } };
saw.sent = await ok(logic, "SendMessage", message, me);
saw.repeated = await ok(logic, "SendMessage", message, me);
saw.reused = (await call(logic, "SendMessage", { ...message, content: "other" }, me)).error;

const { conversations } = await ok(logic, "GetConversations", {}, me);
const conversation_id = conversations[0].conversation_id;
saw.conversation = conversations[0];
saw.unread = await ok(logic, "GetUnreadMessages", {}, them);
saw.marked = await ok(logic, "MarkMessageRead", { conversation_id, message_id: saw.sent.message_id }, them);
saw.unread_then = await ok(logic, "GetUnreadMessages", {}, them);
saw.history = await ok(logic, "GetMessageHistory", { conversation_id, limit: 10 }, me);

saw.group = (await ok(logic, "CreateGroup", { name: "Node 组", member_ids: [friendId], max_members: 2 }, me)).group;
const { group_id } = saw.group;
saw.members = await ok(logic, "GetGroupMembers", { group_id, pagination: { limit: 1, page: 2 } }, me);

saw.answered = (await call(logic, "GetUserProfile", {}, { ...me, "x-request-id": "node-42" })).requestId;
const wrong = { conversation_id, limit: -1 };
saw.refused = await call(logic, "GetMessageHistory", wrong, { ...me, "x-request-id": "node-43" });
saw.refused_in_body = await call(logic, "GetMessageHistory", wrong, { ...me, "x-gochat-error-mode": "body" });
saw.without_token = await call(logic, "GetUnreadMessages", {});
saw.not_mine = (await call(logic, "GetUnreadMessages", { user_id: friendId }, me)).error;

const renewed = await ok(session, "RefreshToken", { refresh_token: mine.refresh_token });
saw.renewed = (await ok(logic, "GetUserProfile", {}, { token: renewed.access_token })).profile;
await ok(session, "RefreshToken", { refresh_token: renewed.refresh_token });
saw.refresh_reused = (await call(session, "RefreshToken", { refresh_token: mine.refresh_token })).error;

console.log(JSON.stringify(saw));
logic.close();
session.close();
