// Types of gochat.js. Times are Unix milliseconds; ids are opaque strings, of which those of one conversation's messages
// sort by their age. proto/README.md is the guide, the comments in the .proto files are the reference.

import type {
  Ban, ChatEvent, Conversation, ConversationDetail, ConversationFilters, ConversationInfo, ConversationRecord,
  ConversationSettings, DetailPage, Group, GroupPreview, GroupSettings, Invitation, JoinRequest, Member,
  MemberDetail, Message, MessageDetail, MessagePage, PageOptions, Pagination, Presence, Profile, Receipts, Session,
  PushToken, SignInMethods, TokenPage, User, UserReaction, Version, Who,
} from "./gochat.types.js";

export type * from "./gochat.types.js";

export interface ClientOptions {
  /** Of the server, such as "https://chat.example.com". In browsers by default where the page is from. */
  url?: string;
  /** Signs in when it is needed, again too. For bots; people call signIn(). */
  username?: string;
  password?: string;
  /**
   * An access token of one user, from your own backend: asked for at the start and when one has ended. It says whose the
   * store is: until then nothing that is stored is shown, and what another user has left there goes. A token of another
   * user later ends the session (OTHER_USER). What it throws, unless that is a ChatError, counts as "unavailable".
   */
  tokenProvider?: () => string | Promise<string>;
  /** Names this installation. By default random, and kept in the store. */
  deviceId?: string;
  /** Where the client keeps its things. By default IndexedDB in browsers, elsewhere memory. */
  store?: Store;
  fetch?: typeof fetch;
}

/** A place for what is to survive a restart: values that structuredClone() takes, by key. */
export interface Store {
  get(key: string): Promise<unknown>;
  /** The values of all keys that begin so, in the order of the keys; with limit the last of them. */
  list(prefix: string, limit?: number): Promise<unknown[]>;
  /** All of the changes or none: values by key, undefined to remove one. */
  write(changes: Record<string, unknown>): Promise<void>;
  clear(): Promise<void>;
}

export class MemoryStore implements Store {
  get(key: string): Promise<unknown>;
  list(prefix: string, limit?: number): Promise<unknown[]>;
  write(changes: Record<string, unknown>): Promise<void>;
  clear(): Promise<void>;
}

export class IndexedDbStore extends MemoryStore {
  constructor(name: string);
}

export type ErrorCode =
  | "canceled" | "unknown" | "invalid_argument" | "deadline_exceeded" | "not_found" | "already_exists"
  | "permission_denied" | "resource_exhausted" | "failed_precondition" | "aborted" | "out_of_range" | "unimplemented"
  | "internal" | "unavailable" | "data_loss" | "unauthenticated";

/** Every failure of a call, that of the network too (code "unavailable"). */
export class ChatError extends Error {
  readonly code: ErrorCode;
  /** A stable word for programs, such as "GROUP_FULL"; empty if the error is not the server's. */
  readonly reason: string;
  /** The fields of the request that break a rule, each with the rule. */
  readonly fields: Record<string, string>;
  /** What the reason goes with, such as "muted_until". */
  readonly details: Record<string, string>;
  /** For rate limits: how long to wait. */
  readonly retryAfterMs: number;
  readonly requestId: string;
  /** The same call may succeed later. */
  readonly transient: boolean;
}

/** "offline": the server cannot be reached, and is tried again. "signedOut": somebody has to sign in. */
export type Connection = "connecting" | "online" | "offline" | "signedOut";

/** To one of conversationId and toUserId. */
export interface OutgoingMessage {
  conversationId?: string;
  toUserId?: string;
  content: string;
  /** "text" if it is not said. */
  messageType?: string;
  metadata?: Record<string, string>;
  /** The id of a message of the same conversation. */
  replyTo?: string;
  /** User ids, or "all" by managers of a group. */
  mentions?: string[] | "all";
  /** The id of a message of any conversation. */
  forwardedFrom?: string;
  /** Has the message sent once, however often it is tried. By default random. */
  clientMsgId?: string;
}

export interface OutboxEntry
  extends Required<Omit<OutgoingMessage, "replyTo" | "mentions" | "forwardedFrom">> {
  createdAt: number;
  state: "queued" | "failed";
  error: Pick<ChatError, "code" | "reason" | "message" | "fields" | "details" | "retryAfterMs"> | null;
}

/** What on() tells of. */
export interface Notices {
  event: ChatEvent;
  conversations: readonly Conversation[];
  outbox: readonly OutboxEntry[];
  connection: Connection;
  profile: Profile;
  /** A message of the outbox has been sent. */
  sent: Message;
  /** null: by signOut(). */
  signedOut: ChatError | null;
}

/** A user of a GoChat server. All tabs of a browser share one session, one stream and one outbox. */
export class Client {
  constructor(options?: ClientOptions);

  /** Reads what is stored, and connects if somebody is signed in. Calls, events() and send() do it by themselves. */
  start(): Promise<void>;
  close(): void;
  /** At once, without waiting for the next try. */
  reconnect(): void;

  readonly userId: string;
  readonly profile: Profile | null;
  readonly connection: Connection;
  /** Kept up to date; those that are pinned first, then the latest activity first. */
  readonly conversations: readonly Conversation[];
  conversation(conversationId: string): Conversation | null;
  /** What is not sent yet, in order. */
  readonly outbox: readonly OutboxEntry[];
  /**
   * After start(). An app may keep entries of its own beside those of the client, under keys that begin with "app/": they go
   * when the user signs out.
   */
  readonly store: Store;
  /** Of those whom the stream tells of: see watchPresence(). */
  presence(userId: string): Presence | null;

  /** Returns a function that ends it. */
  on<Type extends keyof Notices>(type: Type, handler: (value: Notices[Type]) => void): () => void;
  /**
   * What happens, across disconnects and restarts: messages once and in the order of their conversation. Where the
   * cursor is stored, it is stored when the next event is asked for, so after a crash the last ones may come again.
   * Ends when somebody signs out, with the error if the session was ended elsewhere.
   */
  events(): AsyncIterableIterator<ChatEvent>;

  signIn(username: string, password: string): Promise<void>;
  /** Where the server takes registrations. */
  register(account: { username: string; password: string; nickname?: string; email?: string }): Promise<void>;
  /** By a token of the operator's own login, where the server takes those. */
  signInWith(token: string): Promise<void>;
  /** Where the server takes guests. */
  signInAsGuest(nickname?: string): Promise<void>;
  /** Signed in as a guest, on this device, without an account since. */
  readonly isGuest: boolean;
  /** Gives a guest a way to sign in: a username and a password, or a token as of signInWith(). Their id stays. */
  claimAccount(way: { username: string; password: string } | { token: string }): Promise<void>;
  /**
   * Has this device notified while the user has no stream, until the session ends: register it after each sign-in. Of
   * "webpush" the token is the endpoint of a PushSubscription, made with webPushKey(), and p256dh and auth are its keys.
   */
  registerPushToken(token: {
    platform: "apns" | "fcm" | "webpush" | "custom";
    token: string;
    p256dh?: string;
    auth?: string;
  }): Promise<PushToken>;
  unregisterPushToken(platform: string, token: string): Promise<void>;
  /** Of all devices of the user. */
  pushTokens(): Promise<PushToken[]>;
  /** The applicationServerKey of this server. */
  webPushKey(): Promise<string>;
  /** How users sign in to this server. */
  signInMethods(): Promise<SignInMethods>;
  /**
   * Begins a sign-in by OpenID Connect. Keep what it returns where only this page can read it, and open the URL; the
   * provider sends the browser to redirectUri, with `code` and the same `state` in the query: then call finishSignIn().
   */
  beginSignIn(
    issuer: string,
    redirectUri: string,
  ): Promise<{ authorizationUrl: string; state: string; codeVerifier: string }>;
  finishSignIn(signIn: {
    issuer: string;
    redirectUri: string;
    code: string;
    state: string;
    codeVerifier: string;
  }): Promise<void>;
  signOut(): Promise<void>;
  /** Ends all other sessions. */
  changePassword(oldPassword: string, newPassword: string): Promise<void>;
  sessions(): Promise<Session[]>;
  revokeSession(sessionId: string): Promise<void>;

  /** Sends now or as soon as the server is there, once. Rejects if the server refuses it. */
  send(message: OutgoingMessage): Promise<Message>;
  /** The same without waiting: resolves when it is stored. A refused one stays in the outbox as failed. */
  enqueue(message: OutgoingMessage): Promise<OutboxEntry>;
  retry(clientMsgId: string): Promise<void>;
  discard(clientMsgId: string): Promise<void>;

  /** Newest first. */
  history(conversationId: string, options?: { beforeMessageId?: string; limit?: number }): Promise<MessagePage>;
  /** Oldest first. */
  messagesAfter(conversationId: string, afterMessageId: string, options?: { limit?: number }): Promise<MessagePage>;
  /** The newest that are stored here, oldest first, without a gap up to the newest of all. Works offline. */
  storedMessages(conversationId: string, limit?: number): Promise<Message[]>;
  /** As history(), with all that belongs to the messages. */
  details(conversationId: string, options?: { beforeMessageId?: string; limit?: number }): Promise<DetailPage>;
  /** As messagesAfter(). */
  detailsAfter(conversationId: string, afterMessageId: string, options?: { limit?: number }): Promise<DetailPage>;
  /** As storedMessages(). */
  storedDetails(conversationId: string, limit?: number): Promise<MessageDetail[]>;
  message(messageId: string): Promise<MessageDetail>;
  /** The message after an event, for who keeps messages of their own; the same object if it changes nothing. */
  detailAfter(detail: MessageDetail, event: ChatEvent): MessageDetail;
  markRead(conversationId: string, messageId: string): Promise<void>;
  unread(): Promise<{ totalCount: number; conversations: ConversationInfo[] }>;
  /** May be called with each key that is pressed. */
  setTyping(conversationId: string, typing?: boolean): Promise<void>;

  /** One's own text, within a time that the server says. mentions: not given: they stay. */
  edit(messageId: string, content: string, options?: { mentions?: string[] | "all" }): Promise<MessageDetail>;
  /** What an edited message was before, oldest first. */
  versions(messageId: string, page?: TokenPage): Promise<{ versions: Version[]; nextPageToken: string }>;
  /** For all, for good. */
  recall(messageId: string): Promise<void>;
  deleteForMe(messageId: string): Promise<void>;
  react(messageId: string, reaction: string): Promise<void>;
  unreact(messageId: string, reaction: string): Promise<void>;
  reactions(messageId: string, page?: TokenPage): Promise<{ reactions: UserReaction[]; nextPageToken: string }>;
  pin(messageId: string): Promise<void>;
  unpin(messageId: string): Promise<void>;
  /** The latest pin first. */
  pinned(conversationId: string): Promise<MessageDetail[]>;
  /** Who has it and who has read it. */
  receipts(messageId: string): Promise<Receipts>;

  /** The conversation with a user, without a message. */
  openDirect(userId: string): Promise<ConversationDetail>;
  /** One conversation as the server has it; conversation() is what is known here. */
  conversationDetail(conversationId: string): Promise<ConversationDetail>;
  /** What the server has, page by page; `conversations` is what is known here. */
  listConversations(
    filters?: ConversationFilters,
  ): Promise<{ conversations: ConversationDetail[]; nextPageToken: string }>;
  /** mutedUntil: Infinity for good, 0 for no longer. */
  updateSettings(
    conversationId: string,
    changes: { mutedUntil?: number; pinned?: boolean; archived?: boolean; markedUnread?: boolean },
  ): Promise<ConversationSettings>;
  createConversation(userId: string): Promise<ConversationRecord>;
  updateConversation(conversationId: string, changes: { name?: string; avatar?: string }): Promise<ConversationRecord>;
  hideConversation(conversationId: string): Promise<void>;

  createGroup(group: {
    name: string; description?: string; avatar?: string; memberIds?: string[]; maxMembers?: number;
  }): Promise<Group>;
  getGroup(groupId: string): Promise<Group>;
  updateGroup(
    groupId: string,
    changes: { name?: string; description?: string; avatar?: string; maxMembers?: number },
  ): Promise<Group>;
  joinGroup(groupId: string): Promise<void>;
  leaveGroup(groupId: string): Promise<void>;
  members(groupId: string, page?: PageOptions): Promise<{ members: Member[]; pagination: Pagination }>;
  /** Returns those who were no members before. */
  addMembers(groupId: string, userIds: string[]): Promise<string[]>;
  removeMember(groupId: string, userId: string): Promise<void>;

  listMembers(
    groupId: string,
    options?: TokenPage & { query?: string },
  ): Promise<{ members: MemberDetail[]; nextPageToken: string }>;
  member(groupId: string, userId: string): Promise<MemberDetail>;
  setRole(groupId: string, userId: string, role: "admin" | "member"): Promise<void>;
  transferOwnership(groupId: string, userId: string): Promise<void>;
  dissolveGroup(groupId: string): Promise<void>;
  /** until: 0 or Infinity for good. */
  banMember(groupId: string, userId: string, options?: { until?: number; reason?: string }): Promise<void>;
  unbanMember(groupId: string, userId: string): Promise<void>;
  bans(groupId: string, page?: TokenPage): Promise<{ bans: Ban[]; nextPageToken: string }>;
  /** until: Infinity for good, 0 for no longer. */
  muteMember(groupId: string, userId: string, until: number): Promise<void>;
  groupSettings(groupId: string): Promise<GroupSettings>;
  updateGroupSettings(groupId: string, changes: Partial<Omit<GroupSettings, "groupId">>): Promise<GroupSettings>;
  /** Of those that can be found; without a query all. */
  searchGroups(query?: string, page?: TokenPage): Promise<{ groups: GroupPreview[]; nextPageToken: string }>;
  createInvitation(groupId: string, options?: { expiresAt?: number; maxUses?: number }): Promise<Invitation>;
  invitations(groupId: string): Promise<Invitation[]>;
  revokeInvitation(groupId: string, token: string): Promise<void>;
  /** The group that one would join. */
  invitation(token: string): Promise<GroupPreview>;
  /** Returns the id of the group. */
  joinByInvitation(token: string): Promise<string>;
  requestToJoin(groupId: string, note?: string): Promise<void>;
  cancelRequest(groupId: string): Promise<void>;
  joinRequests(groupId: string, page?: TokenPage): Promise<{ requests: JoinRequest[]; nextPageToken: string }>;
  decideRequest(groupId: string, userId: string, accept: boolean): Promise<void>;
  /** Empty: none. */
  setTitle(groupId: string, userId: string, title: string): Promise<void>;
  /** A name in this group, one's own by default. Empty: the one of the profile. */
  setNickname(groupId: string, nickname: string, userId?: string): Promise<void>;

  searchUsers(query: string, page?: PageOptions): Promise<{ users: User[]; pagination: Pagination }>;
  /** Without an id one's own. */
  getProfile(userId?: string): Promise<Profile>;
  updateProfile(changes: { nickname?: string; avatar?: string; bio?: string }): Promise<Profile>;
  /** Watch these too; those one has one-to-one conversations with, the latest 200, are watched anyway. */
  watchPresence(userIds: string[]): void;

  /** Any call: "gochat.api.<noun>.v1.<Service>/<Rpc>", request and answer in the JSON of the contract. */
  call(
    path: string,
    request?: object,
    options?: { signal?: AbortSignal; timeoutMs?: number; anonymous?: boolean },
  ): Promise<Record<string, unknown>>;
}
