const RENEW_BEFORE_MS = 60_000;

/** Who is signed in: tokens that are renewed in time, once for all who wait, and for all tabs. */
class Session {
  #transport;
  #store;
  #options;
  #lockName;
  #stored = null; // { userId, accessToken, refreshToken, expiresAt }
  #profile = null;
  #renewing = null;
  deviceId = "";
  /** Called when it has ended and cannot be renewed. */
  onended = () => {};

  /** options: tokenProvider, or username and password, or neither: then signIn() is called. */
  constructor(transport, store, options, lockName) {
    this.#transport = transport;
    this.#store = store;
    this.#options = options;
    this.#lockName = lockName;
  }

  get userId() {
    return this.#stored?.userId ?? "";
  }

  get profile() {
    return this.#profile;
  }

  /** Somebody is signed in, or will be without being asked. */
  get isPossible() {
    return Boolean(this.#stored || this.#options.tokenProvider || this.#options.username);
  }

  async load() {
    this.#stored = (await this.#store.get("session")) ?? null;
    this.#profile = (await this.#store.get("profile")) ?? null;
    this.deviceId = this.#options.deviceId ?? (await this.#store.get("deviceId")) ?? randomId();
    await this.#store.write({ deviceId: this.deviceId });
  }

  /** Into a store that has been cleared. */
  async save() {
    const session = this.#stored ?? undefined;
    await this.#store.write({ deviceId: this.deviceId, session, profile: this.#profile ?? undefined });
  }

  async signIn(username, password) {
    const request = { username, password, deviceId: this.deviceId };
    const json = await this.#transport.unary(`${LOGIC}/Authenticate`, request);
    const profile = fill(PROFILE, json.userInfo);
    await this.adopt(json, profile.userId);
    await this.setProfile(profile);
  }

  async register(request) {
    const json = await this.#transport.unary(`${SESSIONS}/Register`, { ...request, deviceId: this.deviceId });
    await this.adopt(json, json.userId);
  }

  /** json: an answer with tokens. */
  async adopt(json, userId = this.userId) {
    const { accessToken, refreshToken, expiresIn } = fill(TOKENS, json);
    await this.keep({ userId, accessToken, refreshToken, expiresAt: Date.now() + expiresIn * 1000 });
  }

  /** stored: null when nobody is signed in any more. */
  async keep(stored) {
    if (stored?.userId !== this.userId) this.#profile = null;
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

  /** The answer of a unary call, for which a token that has ended meanwhile is renewed. */
  async call(path, request, { signal, timeoutMs } = {}) {
    const token = await this.token();
    try {
      return await this.#transport.unary(path, request, { token, signal, timeoutMs });
    } catch (error) {
      if (error.code !== "unauthenticated" || error.reason === "BAD_CREDENTIALS") throw error;
      return this.#transport.unary(path, request, { token: await this.token(token), signal, timeoutMs });
    }
  }

  #isFresh(refused) {
    const { accessToken, expiresAt } = this.#stored ?? {};
    return Boolean(accessToken) && accessToken !== refused && Date.now() < expiresAt - RENEW_BEFORE_MS;
  }

  async #renew(refused) {
    this.#stored = (await this.#store.get("session")) ?? this.#stored;
    if (this.#isFresh(refused)) return; // another tab was quicker
    const { tokenProvider, username, password } = this.#options;
    try {
      if (tokenProvider) await this.#provide(await tokenProvider());
      else if (this.#stored?.refreshToken) await this.#refresh();
      else if (username) await this.signIn(username, password);
      else throw new ChatError("unauthenticated", "nobody is signed in", { reason: "NO_TOKEN" });
    } catch (error) {
      if (error.code === "unauthenticated") {
        await this.keep(null);
        this.onended(error);
      }
      throw error;
    }
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
    const expiresAt = Number(json.expiresAt);
    await this.keep({ userId: json.userId, accessToken, refreshToken: "", expiresAt });
  }
}

/** Runs act while no other tab does. Browsers have locks on secure pages alone; the server bears two at once. */
async function locked(name, act) {
  return globalThis.navigator?.locks ? navigator.locks.request(name, act) : act();
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
