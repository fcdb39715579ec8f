const CALL_TIMEOUT_MS = 20_000;
const END_OF_STREAM = 2;
const HEADER_SIZE = 5; // of a message in a stream: flags, and its length in 4 bytes

/** Calls by the Connect protocol, in JSON. Raises ChatError alone. */
class Transport {
  #url;
  #fetch;

  constructor(url, fetch) {
    this.#url = url.replace(/\/+$/, "");
    this.#fetch = fetch;
  }

  /** path: "gochat.api.<noun>.v1.<Service>/<Rpc>". token: "" for calls that need none. */
  async unary(path, request, { token = "", signal, timeoutMs = CALL_TIMEOUT_MS } = {}) {
    const timeout = AbortSignal.timeout(timeoutMs);
    const headers = { ...this.#headers("application/json", token), "connect-timeout-ms": String(timeoutMs) };
    const body = JSON.stringify(request);
    const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
    const response = await this.#post(path, headers, body, either);
    const text = await response.text().catch((cause) => Promise.reject(lost(cause)));
    const json = parsed(text);
    if (!response.ok || json === undefined) throw toChatError(json, response.ok ? 502 : response.status);
    return json;
  }

  /** The messages of a server stream, until its end: an error if there is one, else nothing more. */
  async *stream(path, request, { token, signal }) {
    const body = envelope(JSON.stringify(request));
    const response = await this.#post(path, this.#headers("application/connect+json", token), body, signal);
    if (!response.ok) throw toChatError(parsed(await response.text().catch(() => "")), response.status);
    const reader = response.body.getReader();
    const cancel = () => reader.cancel().catch(() => {}); // it may be broken already
    signal.addEventListener("abort", cancel);
    let buffer = new Uint8Array(0);
    try {
      for (;;) {
        const { value, done } = await reader.read().catch((cause) => Promise.reject(lost(cause)));
        if (done) throw new ChatError(signal.aborted ? "canceled" : "unavailable", "the stream broke off");
        buffer = joined(buffer, value);
        let size;
        while (buffer.length >= HEADER_SIZE && buffer.length >= (size = HEADER_SIZE + lengthIn(buffer))) {
          const json = JSON.parse(new TextDecoder().decode(buffer.subarray(HEADER_SIZE, size)));
          const isEnd = buffer[0] & END_OF_STREAM;
          buffer = buffer.subarray(size);
          if (isEnd && json.error) throw toChatError(json.error, response.status);
          if (isEnd) return;
          yield json;
        }
      }
    } finally {
      signal.removeEventListener("abort", cancel);
      cancel();
    }
  }

  #headers(contentType, token) {
    const headers = { "content-type": contentType, "connect-protocol-version": "1" };
    return token ? { ...headers, authorization: `Bearer ${token}` } : headers;
  }

  async #post(path, headers, body, signal) {
    try {
      return await this.#fetch(`${this.#url}/${path}`, { method: "POST", headers, body, signal, cache: "no-store" });
    } catch (cause) {
      throw lost(cause);
    }
  }
}

function lost(cause) {
  if (cause?.name === "TimeoutError") return new ChatError("deadline_exceeded", "the server took too long", { cause });
  if (cause?.name === "AbortError") return new ChatError("canceled", "the call was cancelled", { cause });
  return new ChatError("unavailable", "the server cannot be reached", { cause });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function envelope(json) {
  const data = new TextEncoder().encode(json);
  const message = new Uint8Array(HEADER_SIZE + data.length);
  new DataView(message.buffer).setUint32(1, data.length);
  message.set(data, HEADER_SIZE);
  return message;
}

function lengthIn(buffer) {
  return new DataView(buffer.buffer, buffer.byteOffset).getUint32(1);
}

function joined(first, second) {
  if (!first.length) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
