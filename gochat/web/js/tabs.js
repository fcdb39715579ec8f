/** The tabs of one user in one browser: one of them leads, which has the stream and sends; all hear what it hears. */
class Tabs {
  #name;
  #channel = null;
  #resign = () => {};
  onmessage = () => {};

  /** isShared: the tabs have a store in common. Else, and without Web Locks, each tab leads itself. */
  constructor(name, isShared) {
    this.#name = name;
    if (!isShared || !globalThis.navigator?.locks || !globalThis.BroadcastChannel) return;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.onmessage(data);
  }

  /** Calls lead() when this tab leads, until it closes or resigns. */
  campaign(lead) {
    if (!this.#channel) return lead();
    const leaving = new AbortController();
    const held = new Promise((resolve) => {
      this.#resign = () => {
        leaving.abort();
        resolve();
      };
    });
    const leading = () => (lead(), held);
    navigator.locks.request(this.#name, { signal: leaving.signal }, leading).catch(() => {}); // resigned while waiting
  }

  resign() {
    this.#resign();
  }

  /** To the other tabs. */
  post(message) {
    this.#channel?.postMessage(message);
  }

  close() {
    this.resign();
    this.#channel?.close();
  }
}
