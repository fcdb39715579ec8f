// What the messages of the contract hold, as examples with the values that their fields have when they are not sent.
// JSON leaves such fields out, and has 64-bit numbers as strings. [shape]: a list; OPTIONAL: null when not sent.

const OPTIONAL = Symbol("optional");

const PROFILE = {
  userId: "", username: "", nickname: "", avatar: "", bio: "", status: 0, createdAt: 0, updatedAt: 0,
};
const USER = {
  userId: "", username: "", email: "", nickname: "", avatar: "", status: 0, createdAt: 0, updatedAt: 0,
};
const MESSAGE = {
  messageId: "", conversationId: "", fromUserId: "", toUserId: "", content: "", messageType: "", status: 0,
  metadata: null, createdAt: 0, updatedAt: 0,
};
const GROUP = {
  groupId: "", name: "", description: "", avatar: "", ownerId: "", maxMembers: 0, currentMembers: 0,
  createdAt: 0, updatedAt: 0,
};
const MEMBER = { userId: "", nickname: "", avatar: "", role: "", joinedAt: 0 };
const PREVIEW = { messageId: "", fromUserId: "", content: "", messageType: "", status: 0 };
const REACTION = { reaction: "", count: 0, mine: false, userIds: [""] };
const PIN = { userId: "", pinnedAt: 0 };
const DETAIL = {
  message: MESSAGE, editedAt: 0, reply: { [OPTIONAL]: true, ...PREVIEW }, reactions: [REACTION],
  mentionedUserIds: [""], mentionsAll: false, pin: { [OPTIONAL]: true, ...PIN },
  forwarded: { [OPTIONAL]: true, fromUserId: "", createdAt: 0 },
};
const VERSION = { content: "", createdAt: 0, replacedAt: 0, replacedBy: "" };
const USER_REACTION = { userId: "", reaction: "", createdAt: 0 };
const RECEIPTS = { readCount: 0, deliveredCount: 0, recipientCount: 0, receipts: [{ userId: "", status: 0 }] };
const MEMBER_DETAIL = { member: MEMBER, title: "", groupNickname: "", mutedUntil: 0 };
const GROUP_SETTINGS = {
  groupId: "", posting: "", adding: "", editing: "", slowModeSeconds: 0, joining: "", searchable: false,
};
const GROUP_PREVIEW = { groupId: "", name: "", description: "", avatar: "", memberCount: 0, joining: "" };
const BAN = { userId: "", nickname: "", until: 0, reason: "", bannedBy: "", bannedAt: 0 };
const INVITATION = {
  token: "", groupId: "", createdBy: "", createdAt: 0, expiresAt: 0, maxUses: 0, uses: 0,
};
const JOIN_REQUEST = { userId: "", nickname: "", avatar: "", note: "", requestedAt: 0 };
const CONVERSATION = {
  conversationId: "", type: "", name: "", avatar: "", lastMessage: "", createdAt: 0, updatedAt: 0,
};
const INFO = {
  conversationId: "", type: "", name: "", avatar: "", lastMessage: { [OPTIONAL]: true, ...MESSAGE }, unreadCount: 0,
  updatedAt: 0,
};
const STATE = {
  info: INFO, role: "", readMessageId: "", peerUserId: "", peerReadMessageId: "", peerDeliveredMessageId: "",
};
const SETTINGS = { mutedUntil: 0, pinnedAt: 0, archived: false, markedUnread: false };
const CONVERSATION_DETAIL = {
  state: STATE, peer: { [OPTIONAL]: true, ...PROFILE }, settings: SETTINGS, unreadMentions: 0, memberCount: 0,
};
const SESSION = {
  sessionId: "", deviceId: "", createdAt: 0, refreshedAt: 0, expiresAt: 0, current: false,
};
const TOKENS = { accessToken: "", refreshToken: "", expiresIn: 0 };
const PUSH_TOKEN = { platform: "", token: "", deviceId: "", registeredAt: 0 };
const PAGINATION = { total: 0, page: 0, limit: 0 };
const MOVED = { userId: "", messageId: "", unreadCount: 0 };

/** The events of a stream, by the field of the oneof that is set. */
const EVENTS = {
  messageSent: { message: MESSAGE },
  messageUpdated: { message: MESSAGE, editedAt: 0 },
  messageDeleted: { messageId: "" },
  read: MOVED,
  delivered: MOVED,
  conversationUpdated: { conversation: CONVERSATION },
  conversationHidden: {},
  memberJoined: { member: MEMBER },
  memberLeft: { userId: "", reason: "" },
  memberUpdated: { member: MEMBER },
  groupUpdated: { group: GROUP },
  groupDissolved: {},
  profileUpdated: { profile: PROFILE },
  sessionEnded: { sessionId: "" },
  reactionChanged: { messageId: "", userId: "", reaction: "", added: false, count: 0 },
  pinChanged: { messageId: "", pin: { [OPTIONAL]: true, ...PIN } },
  conversationSettingsUpdated: { settings: SETTINGS },
  groupSettingsUpdated: { settings: GROUP_SETTINGS },
  memberDetailUpdated: { member: MEMBER_DETAIL },
  joinRequestChanged: { userId: "", state: "" },
  typing: { userId: "", typing: false },
  presence: { userId: "", online: false, lastActiveAt: 0 },
};

const MAX_INT64 = "9223372036854775807";

/** A time in a request; Infinity: for good. */
function toTime(at) {
  return at === Infinity ? MAX_INT64 : at;
}

/** json as the shape says: every field is there, numbers are numbers, and a time without an end is Infinity. */
function fill(shape, json = {}) {
  const filled = {};
  for (const [key, example] of Object.entries(shape)) {
    const value = json[key];
    if (example === null) filled[key] = value ?? {};
    else if (Array.isArray(example)) {
      filled[key] = (value ?? []).map((item) => (typeof item === "object" ? fill(example[0], item) : item));
    } else if (typeof example === "number") filled[key] = value === MAX_INT64 ? Infinity : Number(value ?? 0);
    else if (typeof example === "object") filled[key] = value || !example[OPTIONAL] ? fill(example, value) : null;
    else filled[key] = value ?? example;
  }
  return filled;
}

/** An event of the stream as one flat object with its type; null for one that this version does not know. */
function toEvent(json) {
  const type = Object.keys(json).find((key) => key in EVENTS);
  if (!type) return null;
  const { at, conversationId, actorId } = fill({ at: 0, conversationId: "", actorId: "" }, json);
  return { type, at, conversationId, actorId, ...fill(EVENTS[type], json[type]) };
}
