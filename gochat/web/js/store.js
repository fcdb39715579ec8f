/** What a client keeps, in memory: entries by key. Any object with these four methods may take its place. */
export class MemoryStore {
  #entries = new Map();

  async get(key) {
    return this.#entries.get(key);
  }

  /** The values of all keys with this prefix, in the order of the keys; with limit the last of them. */
  async list(prefix, limit = Infinity) {
    const found = [...this.#entries].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
    return found.slice(Math.max(0, found.length - limit)).map(([, value]) => value);
  }

  /** All of the changes or none: values by key, undefined to remove one. */
  async write(changes) {
    for (const [key, value] of Object.entries(changes)) {
      if (value === undefined) this.#entries.delete(key);
      else this.#entries.set(key, structuredClone(value));
    }
  }

  async clear() {
    this.#entries.clear();
  }
}

/** The same in IndexedDB, for all tabs of an origin. */
export class IndexedDbStore {
  #opening;
  #name;

  constructor(name) {
    this.#name = name;
  }

  async get(key) {
    return this.#run("readonly", (entries) => entries.get(key));
  }

  async list(prefix, limit = Infinity) {
    const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
    if (limit === Infinity) return this.#run("readonly", (entries) => entries.getAll(range));
    const found = [];
    await this.#run("readonly", (entries) => {
      entries.openCursor(range, "prev").onsuccess = ({ target: { result: cursor } }) => {
        if (!cursor || found.push(cursor.value) >= limit) return;
        cursor.continue();
      };
    });
    return found.reverse();
  }

  async write(changes) {
    await this.#run("readwrite", (entries) => {
      for (const [key, value] of Object.entries(changes)) {
        if (value === undefined) entries.delete(key);
        else entries.put(value, key);
      }
    });
  }

  async clear() {
    await this.#run("readwrite", (entries) => entries.clear());
  }

  async #run(mode, act) {
    this.#opening ??= this.#open();
    const database = await this.#opening;
    return new Promise((resolve, reject) => {
      const transaction = database.transaction("entries", mode);
      const request = act(transaction.objectStore("entries"));
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  #open() {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open(this.#name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("entries");
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        // The browser closes it when its data are cleared: the next call opens it again.
        request.result.onclose = () => (this.#opening = undefined);
        resolve(request.result);
      };
    });
  }
}

/** IndexedDB where it works (not in Node, nor in every private window, nor on a full disk), else memory. */
async function openStore(name) {
  try {
    const store = new IndexedDbStore(name);
    await store.write({ opened: Date.now() });
    return store;
  } catch {
    return new MemoryStore();
  }
}
