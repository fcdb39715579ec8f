const NOT_OF_THE_SESSION = ["BAD_CREDENTIALS", "BAD_EXTERNAL_TOKEN"]; // reasons of what was asked, not of who asks
const MAX_MARGIN_MS = 60_000; // before its end, at which a token is renewed

/** Who is signed in: tokens that are renewed in time, once for all who wait, and for all tabs. */
class Session {
  #transport;
  #store;
  #options;
  #lockName;
  #stored = null; // { userId, accessToken, refreshToken, renewAt }
  #profile = null;
  #renewing = null;
  #isNamed = false;
  deviceId = "";
  /** Called when it has ended and cannot be renewed. */
  onended = () => {};
  /** Called when the options have named somebody, before anything is done for them. */
  onnamed = async () => {};

  /** options: tokenProvider, or username and password, or neither: then signIn() is called. */
  constructor(transport, store, options, lockName) {
    this.#transport = transport;
    this.#store = store;
    this.#options = options;
    this.#lockName = lockName;
  }

  get userId() {
    return (this.#isNamed && this.#stored?.userId) || "";
  }

  get isGuest() {
    return Boolean(this.#isNamed && this.#stored?.isGuest);
  }

  get profile() {
    return this.#isNamed ? this.#profile : null;
  }

  /** It is known whose the session is. What is stored may be another's than that of a username or a token provider. */
  get isNamed() {
    return this.#isNamed;
  }

  /** Somebody is signed in, or will be without being asked. */
  get isPossible() {
    return Boolean(this.#stored || this.#options.tokenProvider || this.#options.username);
  }

  async load() {
    this.#stored = (await this.#store.get("session")) ?? null;
    this.#profile = (await this.#store.get("profile")) ?? null;
    const { tokenProvider, username } = this.#options;
    this.#isNamed ||= !tokenProvider && (!username || username === this.#profile?.username);
    this.deviceId = this.#options.deviceId ?? (await this.#store.get("deviceId")) ?? randomId();
    await this.#store.write({ deviceId: this.deviceId });
  }

  /** Makes the store this user's: what another has left in it goes. outbox: what they have to send beside it. */
  async own(outbox) {
    if ((await this.#store.get("owner")) === this.userId) await this.#store.write(byKey(outbox));
    else await this.forget(outbox);
  }

  /** Clears the store but for who is signed in, and what they have to send. */
  async forget(outbox) {
    const owner = this.userId || (await this.#store.get("owner"));
    const kept = { owner, deviceId: this.deviceId, session: this.#stored ?? undefined, profile: this.profile ?? undefined };
    await this.#store.clear();
    await this.#store.write({ ...kept, ...byKey(outbox) });
  }

  async signIn(username, password) {
    const request = { username, password, deviceId: this.deviceId };
    const json = await this.#transport.unary(`${LOGIC}/Authenticate`, request);
    const profile = fill(PROFILE, json.userInfo);
    await this.adopt(json, profile.userId, false);
    await this.setProfile(profile);
  }

  /** By an RPC of SessionService whose answer has the user and their tokens. */
  async enter(rpc, request, isGuest = false) {
    const json = await this.#transport.unary(`${SESSIONS}/${rpc}`, { ...request, deviceId: this.deviceId });
    await this.adopt(json, json.userId, isGuest);
  }

  /** json: an answer with tokens. */
  async adopt(json, userId = this.userId, isGuest = this.isGuest) {
    const { accessToken, refreshToken, expiresIn } = fill(TOKENS, json);
    await this.keep({ userId, accessToken, refreshToken, renewAt: renewAt(expiresIn * 1000), isGuest });
  }

  /** stored: null when nobody is signed in any more. */
  async keep(stored) {
    if (stored?.userId !== this.#stored?.userId) this.#profile = null;
    this.#stored = stored;
    await this.#store.write({ session: stored ?? undefined });
  }

  /** Apart from the tokens: another tab may have newer ones of them. */
  async setProfile(profile) {
    this.#profile = profile;
    await this.#store.write({ profile });
  }

  /** An access token that is good for a while. refused: one that the server did not take. */
  async token(refused = "") {
    if (this.#isFresh(refused)) return this.#stored.accessToken;
    this.#renewing ??= locked(`${this.#lockName}:renew`, () => this.#renew(refused)).finally(() => {
      this.#renewing = null;
    });
    await this.#renewing;
    return this.#stored.accessToken;
  }

  /** The answer of a unary call, for which a token that has ended meanwhile is renewed. anonymous: without a token. */
  async call(path, request, { signal, timeoutMs, anonymous = false } = {}) {
    if (anonymous) return this.#transport.unary(path, request, { signal, timeoutMs });
    const token = await this.token();
    try {
      return await this.#transport.unary(path, request, { token, signal, timeoutMs });
    } catch (error) {
      if (error.code !== "unauthenticated" || NOT_OF_THE_SESSION.includes(error.reason)) throw error;
      return this.#transport.unary(path, request, { token: await this.token(token), signal, timeoutMs });
    }
  }

  #isFresh(refused) {
    const { accessToken, renewAt } = this.#stored ?? {};
    return this.#isNamed && Boolean(accessToken) && accessToken !== refused && Date.now() < renewAt;
  }

  async #renew(refused) {
    this.#stored = (await this.#store.get("session")) ?? this.#stored;
    if (this.#isFresh(refused)) return; // another tab was quicker
    const { tokenProvider, username, password } = this.#options;
    try {
      if (tokenProvider) await this.#provide(await provided(tokenProvider));
      else if (this.#isNamed && this.#stored?.refreshToken) await this.#refresh();
      else if (username) await this.signIn(username, password);
      else throw new ChatError("unauthenticated", "nobody is signed in", { reason: "NO_TOKEN" });
    } catch (error) {
      if (error.code === "unauthenticated") {
        await this.keep(null);
        this.onended(error);
      }
      throw error;
    }
    if (this.#isNamed) return;
    this.#isNamed = true;
    await this.onnamed();
  }

  async #refresh() {
    const { refreshToken } = this.#stored;
    const { username, password } = this.#options;
    try {
      await this.adopt(await this.#transport.unary(`${SESSIONS}/RefreshToken`, { refreshToken }));
    } catch (error) {
      if (error.code !== "unauthenticated" || !username) throw error;
      await this.signIn(username, password);
    }
  }

  async #provide(accessToken) {
    const json = await this.#transport.unary(`${LOGIC}/ValidateToken`, { token: accessToken }, { token: accessToken });
    if (!json.valid) throw new ChatError("unauthenticated", "the provided token is not valid", { reason: "BAD_TOKEN" });
    const { userId, expiresAt } = json;
    if (this.userId && userId !== this.userId) {
      throw new ChatError("unauthenticated", "the provided token is another user's", { reason: "OTHER_USER" });
    }
    await this.keep({ userId, accessToken, refreshToken: "", renewAt: renewAt(Number(expiresAt) - Date.now()) });
  }
}

/** What fails here is the network of the app or its backend: that may pass. */
async function provided(tokenProvider) {
  try {
    return await tokenProvider();
  } catch (cause) {
    if (cause instanceof ChatError) throw cause;
    throw new ChatError("unavailable", `no token: ${cause?.message ?? cause}`, { reason: "TOKEN_PROVIDER_FAILED", cause });
  }
}

function renewAt(lastsMs) {
  return Date.now() + lastsMs - Math.min(MAX_MARGIN_MS, lastsMs / 10);
}

function byKey(entries) {
  return Object.fromEntries(entries.map((entry) => [entry.key, entry]));
}

/** Runs act while no other tab does. Browsers have locks on secure pages alone; the server bears two at once. */
async function locked(name, act) {
  return globalThis.navigator?.locks ? navigator.locks.request(name, act) : act();
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
