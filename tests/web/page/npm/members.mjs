// Compares what gochat.js has with what gochat.d.ts says: `node members.mjs gochat.js gochat.d.ts`.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [library, types] = process.argv.slice(2);
const module = await import(pathToFileURL(library));
const text = readFileSync(types, "utf8");
const declared = text.slice(text.indexOf("export class Client {"), text.indexOf("\n}\n", text.indexOf("export class Client {")));
const names = new Set(Array.from(declared.matchAll(/^  (?:readonly )?(\w+)[(<:]/gm), ([, name]) => name));

const has = new Set();
for (let level = module.Client.prototype; level !== Object.prototype; level = Object.getPrototypeOf(level)) {
  for (const name of Object.getOwnPropertyNames(level)) has.add(name);
}
console.log(JSON.stringify({
  exported: Object.keys(module).sort(),
  undeclared: [...has].filter((name) => !names.has(name)),
  missing: [...names].filter((name) => !has.has(name)),
}));
