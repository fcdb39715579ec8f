/** A user of a GoChat server. gochat.d.ts has the types and what each member does. */
export class Client extends PushCalls {
  #options;
  #transport;
  #store;
  #session;
  #conversations;
  #outbox;
  #tabs;
  #stream = null;
  #starting = null;
  #handlers = new Map(); // by type, a set of functions
  #feeds = new Set();
  #sends = new Map(); // by client_msg_id, who waits for it
  #presence = new Map();
  #unsaved = {};
  #hearing = Promise.resolve();
  #connection = "connecting";

  constructor(options = {}) {
    super();
    const { url = globalThis.location?.origin, fetch = globalThis.fetch.bind(globalThis) } = options;
    if (!url) throw new TypeError("url is missing");
    this.#options = { ...options, url };
    this.#transport = new Transport(url, fetch);
  }

  /** Reads what is stored, and connects if somebody is signed in. All that needs it calls it. */
  start() {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start() {
    const { url, store, tokenProvider, username, password, deviceId } = this.#options;
    const name = `gochat ${url}`;
    this.#store = store ?? (await openStore(name));
    this.#session = new Session(this.#transport, this.#store, { tokenProvider, username, password, deviceId }, name);
    this.#session.onended = (error) => this.#leave(error);
    this.#session.onnamed = () => this.#meet(this.outbox); // which is in memory alone until then
    this.#conversations = new Conversations(this.#store);
    this.#outbox = new Outbox(this.#store, this.#session);
    this.#outbox.onchange = () => {
      this.#tabs.post({ kind: "outbox" });
      this.#emit("outbox", this.outbox);
    };
    this.#outbox.onsettled = (entry, message, error) => this.#settle({ entry, message, error });
    this.#tabs = new Tabs(name, this.#store instanceof IndexedDbStore);
    this.#tabs.onmessage = (message) => {
      this.#hearing = this.#hearing.then(() => this.#hear(message)).catch(console.error);
    };
    listenToBrowser(() => this.reconnect(), () => this.#stream?.hurry());
    await this.#session.load();
    await this.#load();
    if (this.#session.isPossible) this.#connect();
    else this.#setConnection("signedOut");
  }

  async #load() {
    if (!this.#session.isNamed) return; // it may be another's
    await this.#conversations.load();
    await this.#outbox.load();
    this.#emit("conversations", this.conversations);
    this.#emit("outbox", this.outbox);
  }

  /** Ends the stream and the waits. What is stored stays. */
  close() {
    this.#disconnect();
    this.#tabs?.close();
    for (const feed of this.#feeds) feed.end();
  }

  // What there is

  get userId() {
    return this.#session?.userId ?? "";
  }

  get profile() {
    return this.#session?.profile ?? null;
  }

  get connection() {
    return this.#connection;
  }

  get conversations() {
    return this.#conversations?.sorted ?? [];
  }

  conversation(conversationId) {
    return this.#conversations?.get(conversationId) ?? null;
  }

  get outbox() {
    return this.#outbox?.entries ?? [];
  }

  get store() {
    return this.#store;
  }

  presence(userId) {
    return this.#presence.get(userId) ?? null;
  }

  // What happens

  on(type, handler) {
    if (!this.#handlers.has(type)) this.#handlers.set(type, new Set());
    this.#handlers.get(type).add(handler);
    return () => this.#handlers.get(type).delete(handler);
  }

  events() {
    const feed = new Feed(() => this.#feeds.delete(feed));
    this.#feeds.add(feed);
    this.start().catch((error) => feed.end(error));
    return feed;
  }

  #emit(type, value) {
    for (const handler of this.#handlers.get(type) ?? []) handler(value);
  }

  async #deliver(events) {
    for (const event of events) {
      if (event.type === "presence") this.#presence.set(event.userId, event);
      if (event.type === "profileUpdated" && event.profile.userId === this.userId) await this.#know(event.profile);
      this.#emit("event", event);
    }
    if (events.length) this.#emit("conversations", this.conversations);
    await Promise.all([...this.#feeds].map((feed) => feed.push(events)));
  }

  #setConnection(connection) {
    if (this.#connection === connection) return;
    this.#connection = connection;
    if (this.#outbox?.isSending) this.#tabs.post({ kind: "connection", connection });
    if (connection === "online") this.#outbox.pump();
    if (connection === "online" && !this.userId) this.#session.token().catch(() => {}); // it says whose the store is
    this.#emit("connection", connection);
  }

  // The stream, in the tab that leads

  #connect() {
    this.#tabs.post({ kind: "hello" });
    this.#setConnection("connecting");
    this.#tabs.campaign(() => this.#lead());
  }

  async #lead() {
    const stream = new Stream(this.#transport, this.#session, this.#conversations);
    stream.onconnection = (connection) => this.#setConnection(connection);
    stream.onevents = (events, cursor) => this.#take(events, cursor);
    stream.onstate = (list, missed, cursor) => this.#replace(list, missed, cursor);
    this.#stream = stream;
    await this.#load(); // the former leader may have stored more than this tab has heard of
    if (this.#stream !== stream) return;
    this.#outbox.isSending = true;
    this.#outbox.pump();
    if (!this.profile) this.getProfile().then((profile) => this.#know(profile), () => {}); // at the next start
    await stream.run();
  }

  #disconnect() {
    this.#stream?.stop();
    this.#presence.clear();
    this.#stream = null;
    this.#outbox?.stop();
    this.#tabs?.resign();
  }

  /** The cursor is stored when the events have been consumed: at worst they come again. */
  async #take(events, cursor) {
    for (const event of events) this.#conversations.apply(event, this.userId);
    await this.#deliver(events);
    const durable = events.filter(({ type }) => !EPHEMERAL.includes(type));
    const version = durable.length ? ++this.#conversations.version : 0;
    if (cursor) this.#conversations.cursor = cursor;
    if (cursor || version) await this.#save(await this.#conversations.stored(durable, this.userId));
    if (events.length) this.#tabs.post({ kind: "events", version, events });
  }

  async #replace(list, missed, cursor) {
    const changes = await this.#conversations.renew(list, missed, cursor);
    await this.#deliver([resynced(), ...missed]);
    await this.#save(changes);
    this.#tabs.post({ kind: "state", missed });
  }

  /** What could not be stored is stored with what comes next. */
  async #save(changes) {
    this.#unsaved = { ...this.#unsaved, ...changes, position: this.#conversations.position };
    const saving = this.#unsaved;
    await this.#store.write(saving).then(() => (this.#unsaved = {}), (error) => console.warn(error));
  }

  // The other tabs

  async #hear({ kind, ...message }) {
    if (kind === "hello" && this.#stream) {
      this.#tabs.post({ kind: "connection", connection: this.#connection, presence: [...this.#presence.values()] });
    } else if (kind === "connection" && !this.#stream) {
      for (const each of message.presence ?? []) this.#presence.set(each.userId, each);
      this.#setConnection(message.connection);
    } else if (kind === "events" && !this.#stream && this.userId) await this.#follow(message);
    else if (kind === "state" && !this.#stream && this.userId) {
      await this.#load();
      await this.#deliver([resynced(), ...message.missed]);
    } else if (kind === "outbox") {
      await this.#outbox.load();
      this.#emit("outbox", this.outbox);
    } else if (kind === "settled") this.#settled(message);
    else if (kind === "watch") this.#stream?.watch(message.userIds);
    else if (kind === "session") await this.#changeSession();
  }

  /** The tab that leads has stored them already. version: 0 for ephemeral ones. */
  async #follow({ version, events }) {
    const known = this.#conversations;
    if (version && version <= known.version) return;
    for (const event of events) known.apply(event, this.userId);
    const isBehind = version && version !== known.version + 1;
    if (version) known.version = version;
    if (isBehind || events.some(({ type, conversationId }) => type === "messageSent" && !known.get(conversationId))) {
      await known.load();
    }
    await this.#deliver(events);
  }

  /** Another tab has signed in or out, or has new tokens. */
  async #changeSession() {
    const before = this.userId;
    await this.#session.load();
    if (this.userId === before) return;
    this.#disconnect();
    await this.#load();
    if (this.userId) this.#connect();
    else this.#setConnection("signedOut");
  }

  /** At once, without waiting for the next try. */
  reconnect() {
    this.#stream?.reconnect();
    this.#outbox?.pump();
  }

  // Who is signed in

  async signIn(username, password) {
    await this.start();
    await this.#enter(() => this.#session.signIn(username, password));
  }

  get isGuest() {
    return this.#session?.isGuest ?? false;
  }

  async [ENTER](rpc, request, isGuest = false) {
    await this.start();
    await this.#enter(() => this.#session.enter(rpc, request, isGuest));
  }

  async [ADOPT](json) {
    await this.#session.adopt(json, this.userId, false);
  }

  async #enter(act) {
    this.#disconnect();
    await act();
    await this.#meet([]);
    this.#connect();
  }

  async #meet(outbox) {
    await this.#session.own(outbox);
    await this.#load();
    this.#tabs.post({ kind: "session" });
  }

  async signOut() {
    await this.call(`${SESSIONS}/Logout`).catch(() => {}); // offline: the session ends by itself
    await this.#session.keep(null);
    await this.#leave(null);
  }

  /** error: why, where the server has ended the session. What is not sent yet then waits for the same user. */
  async #leave(error) {
    this.#disconnect();
    if (this.#session.isNamed) await this.#session.forget(error ? this.outbox : []);
    await this.#load();
    this.#tabs.post({ kind: "session" });
    this.#setConnection("signedOut");
    this.#emit("signedOut", error);
    for (const feed of this.#feeds) feed.end(error);
    this.#feeds.clear();
  }

  async #know(profile) {
    await this.#session.setProfile(profile);
    this.#emit("profile", profile);
  }

  async claimAccount(way) {
    await super.claimAccount(way);
    await this.#know(await this.getProfile());
  }

  async updateProfile(changes) {
    const profile = await super.updateProfile(changes);
    await this.#know(profile);
    return profile;
  }

  /** Any call, by "gochat.api.<noun>.v1.<Service>/<Rpc>", in the JSON of the contract. */
  async call(path, request = {}, options = {}) {
    await this.start();
    return this.#session.call(path, request, options);
  }

  // Sending

  async enqueue(message) {
    await this.start();
    this.typing.delete(message.conversationId); // the server knows that who sends has stopped
    return this.#outbox.add(message);
  }

  async send(message) {
    await this.start();
    const clientMsgId = message.clientMsgId ?? randomId();
    const settled = new Promise((resolve, reject) => this.#sends.set(clientMsgId, { resolve, reject }));
    await this.#outbox.add({ ...message, clientMsgId });
    try {
      return await settled;
    } catch (error) {
      await this.discard(clientMsgId); // its caller knows
      throw error;
    }
  }

  async retry(clientMsgId) {
    await this.#outbox.retry(clientMsgId);
  }

  async discard(clientMsgId) {
    await this.#outbox.discard(clientMsgId);
  }

  #settle({ entry, message, error }) {
    const outcome = { clientMsgId: entry.clientMsgId, message, error: error && plain(error) };
    this.#tabs.post({ kind: "settled", ...outcome });
    if (message) this.#stream?.noteAnswer();
    this.#settled(outcome);
  }

  #settled({ clientMsgId, message, error }) {
    if (message) this.#emit("sent", message);
    const waiting = this.#sends.get(clientMsgId);
    this.#sends.delete(clientMsgId);
    if (message) waiting?.resolve(message);
    else waiting?.reject(new ChatError(error.code, error.message, error));
  }

  // Conversations and people

  async details(conversationId, options = {}) {
    const page = await super.details(conversationId, options);
    if (!options.beforeMessageId && this.conversation(conversationId)) {
      await this.#store.write(Object.fromEntries(page.messages.map((detail) => [keyOf(detail), detail])));
    }
    return page;
  }

  async createConversation(userId) {
    const conversation = await super.createConversation(userId);
    await this.#meetPeer(conversation, await this.getProfile(userId));
    return conversation;
  }

  async openDirect(userId) {
    const detail = await super.openDirect(userId);
    await this.#meetPeer(detail.state.info, detail.peer);
    return detail;
  }

  async #meetPeer(conversation, peer) {
    await this.#conversations.meet(conversation, peer);
    this.#emit("conversations", this.conversations);
  }

  watchPresence(userIds) {
    if (this.#stream) this.#stream.watch(userIds);
    else this.#tabs?.post({ kind: "watch", userIds });
  }
}
