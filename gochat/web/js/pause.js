const MIN_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;

/** A wait between two tries that can be ended early. */
class Pause {
  #isWoken = false;
  #end = () => {};

  /** Ends the wait, or the next one: whoever calls it may do so while a try that is about to fail is under way. */
  wake() {
    this.#isWoken = true;
    this.#end();
  }

  async wait(ms) {
    if (!this.#isWoken) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#end = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#isWoken = false;
  }
}

/** Full jitter: whoever was cut off at the same time comes back spread over the time. */
function backoff(attempt) {
  return Math.random() * Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** attempt);
}

/** In a browser: what to do when the network comes or goes, and when the page is looked at again. */
function listenToBrowser(onnetwork, onlook) {
  globalThis.addEventListener?.("online", onnetwork);
  globalThis.addEventListener?.("offline", onnetwork);
  globalThis.document?.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") onlook();
  });
}
