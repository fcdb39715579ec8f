const EPHEMERAL = ["typing", "presence"];

function resynced() {
  return { type: "resync", at: Date.now(), conversationId: "", actorId: "" };
}

/** The events of a client for one who iterates over them. */
class Feed {
  #events = [];
  #waiting = null;
  #consumed = () => {};
  #failure = null;
  #onclose;

  constructor(onclose) {
    this.#onclose = onclose;
  }

  /** Resolves when all of them have been consumed: whoever asks for the next event is done with the one before. */
  push(events) {
    this.#events.push(...events);
    const consumed = new Promise((resolve) => (this.#consumed = resolve));
    this.#serve();
    return events.length ? consumed : Promise.resolve();
  }

  /** error: what the iteration ends with; none for an end without one. */
  end(error = null) {
    this.#failure = { error };
    this.#serve();
  }

  next() {
    if (!this.#events.length) this.#consumed();
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#serve();
    });
  }

  async return() {
    this.#onclose(this);
    this.#consumed();
    this.end();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  #serve() {
    const waiting = this.#waiting;
    if (!waiting || !(this.#events.length || this.#failure)) return;
    this.#waiting = null;
    if (this.#events.length) waiting.resolve({ value: this.#events.shift(), done: false });
    else if (this.#failure.error) waiting.reject(this.#failure.error);
    else waiting.resolve({ value: undefined, done: true });
  }
}
