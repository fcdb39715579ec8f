// What the client of gochat.d.ts takes and returns, and its events.

export interface Profile {
  userId: string;
  username: string;
  nickname: string;
  avatar: string;
  bio: string;
  /** 1 active, 2 disabled, 3 deleted. */
  status: number;
  createdAt: number;
  updatedAt: number;
}

export type User = Omit<Profile, "bio"> & { email: string };

export interface Message {
  messageId: string;
  conversationId: string;
  fromUserId: string;
  /** Empty in a group. */
  toUserId: string;
  content: string;
  messageType: string;
  /** 1 sent, 2 delivered, 3 read, 4 recalled, 5 deleted. */
  status: number;
  /** With "client_msg_id" of those that this library sent. */
  metadata: Record<string, string>;
  createdAt: number;
  updatedAt: number;
}

/** A message with all that belongs to it. Of a recalled one nothing does. */
export interface MessageDetail {
  message: Message;
  /** 0: never. */
  editedAt: number;
  /** What it answers; null also for one that the user does not see. */
  reply: MessagePreview | null;
  /** In the order in which they came up. */
  reactions: Reaction[];
  /** Empty if all are mentioned. */
  mentionedUserIds: string[];
  mentionsAll: boolean;
  pin: { userId: string; pinnedAt: number } | null;
  /** Where it comes from. */
  forwarded: { fromUserId: string; createdAt: number } | null;
}

export type MessagePreview = Pick<Message, "messageId" | "fromUserId" | "content" | "messageType" | "status">;

export interface Reaction {
  /** An emoji, or a short code such as ":ship-it:". */
  reaction: string;
  count: number;
  /** The user's own is among them. */
  mine: boolean;
  /** The first 10. */
  userIds: string[];
}

export interface UserReaction {
  userId: string;
  reaction: string;
  createdAt: number;
}

/** A text that a message had. */
export interface Version {
  content: string;
  createdAt: number;
  replacedAt: number;
  replacedBy: string;
}

export interface Receipts {
  readCount: number;
  deliveredCount: number;
  recipientCount: number;
  /** Readers first. Empty in groups of more than 1,000 members. */
  receipts: { userId: string; status: number }[];
}

/** A user's own settings of a conversation. */
export interface ConversationSettings {
  /** Infinity: for good; 0, or a time that has passed: not muted. */
  mutedUntil: number;
  /** 0: not pinned. */
  pinnedAt: number;
  archived: boolean;
  markedUnread: boolean;
}

export interface ConversationDetail {
  state: Pick<Conversation, "role" | "readMessageId" | "peerUserId" | "peerReadMessageId" | "peerDeliveredMessageId"> & {
    info: ConversationInfo;
  };
  peer: Profile | null;
  settings: ConversationSettings;
  unreadMentions: number;
  memberCount: number;
}

export interface ConversationFilters {
  pageToken?: string;
  limit?: number;
  unread?: boolean;
  /** Not set: both. */
  archived?: boolean;
  type?: "single" | "group";
  mentioned?: boolean;
  pinned?: boolean;
}

/** A conversation as the signed-in user has it. */
export interface Conversation {
  /** Of a group also its groupId. */
  conversationId: string;
  type: "single" | "group";
  name: string;
  avatar: string;
  lastMessage: Message | null;
  unreadCount: number;
  /** Unread messages that mention the user, or all. */
  unreadMentions: number;
  settings: ConversationSettings;
  updatedAt: number;
  /** In a group. */
  role: "owner" | "admin" | "member" | "";
  readMessageId: string;
  /** Of the other one in a one-to-one conversation; empty while it is not known. */
  peerUserId: string;
  peerReadMessageId: string;
  peerDeliveredMessageId: string;
}

export interface ConversationRecord {
  conversationId: string;
  type: "single" | "group";
  name: string;
  avatar: string;
  lastMessage: string;
  createdAt: number;
  updatedAt: number;
}

export type ConversationInfo = Pick<
  Conversation, "conversationId" | "type" | "name" | "avatar" | "lastMessage" | "unreadCount" | "updatedAt"
>;

export interface Group {
  groupId: string;
  name: string;
  description: string;
  avatar: string;
  ownerId: string;
  maxMembers: number;
  currentMembers: number;
  createdAt: number;
  updatedAt: number;
}

export interface Member {
  userId: string;
  nickname: string;
  avatar: string;
  role: "owner" | "admin" | "member";
  joinedAt: number;
}

export interface MemberDetail {
  member: Member;
  title: string;
  /** Empty: the nickname of the user. */
  groupNickname: string;
  /** Infinity: for good; 0, or a time that has passed: they may send. */
  mutedUntil: number;
}

export type Who = "WHO_EVERYONE" | "WHO_MANAGERS";
export type Joining = "JOINING_OPEN" | "JOINING_APPROVAL" | "JOINING_INVITATION" | "JOINING_CLOSED";

export interface GroupSettings {
  groupId: string;
  posting: Who;
  adding: Who;
  editing: Who;
  /** 0: no limit. */
  slowModeSeconds: number;
  joining: Joining;
  searchable: boolean;
}

/** A group, for those who are not in it. */
export interface GroupPreview {
  groupId: string;
  name: string;
  description: string;
  avatar: string;
  memberCount: number;
  joining: Joining;
}

export interface Ban {
  userId: string;
  nickname: string;
  /** 0: for good. */
  until: number;
  reason: string;
  bannedBy: string;
  bannedAt: number;
}

export interface Invitation {
  token: string;
  groupId: string;
  createdBy: string;
  createdAt: number;
  /** 0: never. */
  expiresAt: number;
  /** 0: any number. */
  maxUses: number;
  uses: number;
}

export interface JoinRequest {
  userId: string;
  nickname: string;
  avatar: string;
  note: string;
  requestedAt: number;
}

export interface Session {
  sessionId: string;
  deviceId: string;
  createdAt: number;
  refreshedAt: number;
  expiresAt: number;
  current: boolean;
}

export interface Pagination {
  total: number;
  page: number;
  limit: number;
}

export interface TokenPage {
  /** Of the page before. */
  pageToken?: string;
  limit?: number;
}

export interface PageOptions {
  page?: number;
  limit?: number;
}

interface EventBase<Type extends string> {
  type: Type;
  at: number;
  /** Empty for events of a user. */
  conversationId: string;
  actorId: string;
}

type Moved = { userId: string; messageId: string; unreadCount: number };

export type ChatEvent =
  | (EventBase<"messageSent"> & { message: Message; detail: MessageDetail })
  /** Edited or recalled; then its reactions and its pin are gone too. editedAt: 0 for one that was not edited. */
  | (EventBase<"messageUpdated"> & { message: Message; editedAt: number })
  /** For all, or by the user for themselves. */
  | (EventBase<"messageDeleted"> & { messageId: string })
  | (EventBase<"reactionChanged"> & {
      messageId: string; userId: string; reaction: string; added: boolean; count: number;
    })
  /** pin: null when it was unpinned. */
  | (EventBase<"pinChanged"> & { messageId: string; pin: MessageDetail["pin"] })
  | (EventBase<"conversationSettingsUpdated"> & { settings: ConversationSettings })
  | (EventBase<"groupSettingsUpdated"> & { settings: GroupSettings })
  | (EventBase<"memberDetailUpdated"> & { member: MemberDetail })
  /** To managers of the group and to who asked. */
  | (EventBase<"joinRequestChanged"> & {
      userId: string; state: "STATE_REQUESTED" | "STATE_ACCEPTED" | "STATE_DECLINED" | "STATE_WITHDRAWN";
    })
  | (EventBase<"read" | "delivered"> & Moved)
  | (EventBase<"conversationUpdated"> & { conversation: ConversationRecord })
  | EventBase<"conversationHidden" | "groupDissolved">
  | (EventBase<"memberJoined" | "memberUpdated"> & { member: Member })
  | (EventBase<"memberLeft"> & { userId: string; reason: string })
  | (EventBase<"groupUpdated"> & { group: Group })
  | (EventBase<"profileUpdated"> & { profile: Profile })
  | (EventBase<"sessionEnded"> & { sessionId: string })
  | (EventBase<"typing"> & { userId: string; typing: boolean })
  | Presence
  /** The conversations have been read, the first time and after a gap. Messages that were missed follow. */
  | EventBase<"resync">;

export type Presence = EventBase<"presence"> & { userId: string; online: boolean; lastActiveAt: number };

export interface MessagePage {
  messages: Message[];
  hasMore: boolean;
}

export interface DetailPage {
  messages: MessageDetail[];
  hasMore: boolean;
}

export interface PushToken {
  platform: "apns" | "fcm" | "webpush" | "custom";
  /** Of "webpush": the endpoint of the subscription. */
  token: string;
  deviceId: string;
  registeredAt: number;
}

export interface SignInMethods {
  /** By username and password. */
  password: boolean;
  registration: boolean;
  guests: boolean;
  /** For beginSignIn(). */
  issuers: { name: string; label: string }[];
}
