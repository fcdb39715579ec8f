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
const SESSION = {
  sessionId: "", deviceId: "", createdAt: 0, refreshedAt: 0, expiresAt: 0, current: false,
};
const TOKENS = { accessToken: "", refreshToken: "", expiresIn: 0 };
const PAGINATION = { total: 0, page: 0, limit: 0 };
const MOVED = { userId: "", messageId: "", unreadCount: 0 };

/** The events of a stream, by the field of the oneof that is set. */
const EVENTS = {
  messageSent: { message: MESSAGE },
  messageUpdated: { message: MESSAGE },
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
  typing: { userId: "", typing: false },
  presence: { userId: "", online: false, lastActiveAt: 0 },
};

/** json as the shape says: every field is there, and numbers are numbers. */
function fill(shape, json = {}) {
  const filled = {};
  for (const [key, example] of Object.entries(shape)) {
    const value = json[key];
    if (example === null) filled[key] = value ?? {};
    else if (Array.isArray(example)) {
      filled[key] = (value ?? []).map((item) => (typeof item === "object" ? fill(example[0], item) : item));
    } else if (typeof example === "number") filled[key] = Number(value ?? 0);
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
