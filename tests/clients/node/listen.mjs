// Listens until it has been told of so many messages, and prints them as one JSON object.
//
//   node listen.mjs PROTO_FOLDER HOST:PORT TOKEN NUMBER
//
// Whatever happens, it reconnects with its newest cursor.

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const [proto, address, token, number] = process.argv.slice(2);
const definition = protoLoader.loadSync("gochat/api/event/v1/event.proto", {
  includeDirs: [proto],
  keepCase: true,
  longs: Number,
  enums: String,
  oneofs: true,
});
const { EventService } = grpc.loadPackageDefinition(definition).gochat.api.event.v1;
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${token}`);

const told = [];
let cursor = "";
let connections = 0;
const client = new EventService(address, grpc.credentials.createInsecure(), {
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 200,
});

function finish() {
  console.log(JSON.stringify({ told, connections }));
  process.exit(0);
}

function listen() {
  const stream = client.Subscribe({ cursor }, metadata);
  stream.on("data", (response) => {
    if (response.ready) {
      connections += 1;
      console.error(response.ready.resumed ? "resumed" : "ready");
    }
    for (const { event, message_sent } of response.batch?.events ?? []) {
      if (event === "message_sent" && !told.includes(message_sent.message.content)) {
        told.push(message_sent.message.content);
      }
    }
    cursor = response.cursor || cursor;
    if (told.length >= Number(number)) {
      finish();
    }
  });
  stream.on("error", () => setTimeout(listen, 100));
}

listen();
