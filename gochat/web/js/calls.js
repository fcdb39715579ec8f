const LOGIC = "gochat.api.logic.v1.LogicService";
const SESSIONS = "gochat.api.session.v1.SessionService";
const MESSAGES = "gochat.api.message.v1.MessageService";
const CONVERSATIONS = "gochat.api.conversation.v1.ConversationService";
const GROUPS = "gochat.api.group.v1.GroupService";
const EVENTS_SERVICE = "gochat.api.event.v1.EventService";

const TYPING_INTERVAL_MS = 3000;

/** One method for each call that an app makes: here those of LogicService and of one's account. */
class Calls {
  /** By conversation, when it was last said that one types there. */
  typing = new Map();

  // People

  async searchUsers(query, { page = 1, limit = 20 } = {}) {
    const json = await this.call(`${LOGIC}/SearchUsers`, { query, pagination: { page, limit } });
    return fill({ users: [USER], pagination: PAGINATION }, json);
  }

  async getProfile(userId = "") {
    return fill(PROFILE, (await this.call(`${LOGIC}/GetUserProfile`, { userId })).profile);
  }

  async updateProfile({ nickname = "", avatar = "", bio = "" }) {
    const json = await this.call(`${LOGIC}/UpdateUserProfile`, { nickname, avatar, bio });
    return fill(PROFILE, json.profile);
  }

  // Conversations

  async createConversation(userId) {
    const json = await this.call(`${LOGIC}/CreateConversation`, { type: "single", userIds: [userId] });
    return fill(CONVERSATION, json.conversation);
  }

  async updateConversation(conversationId, { name = "", avatar = "" }) {
    const json = await this.call(`${LOGIC}/UpdateConversation`, { conversationId, name, avatar });
    return fill(CONVERSATION, json.conversation);
  }

  async hideConversation(conversationId) {
    await this.call(`${LOGIC}/DeleteConversation`, { conversationId });
  }

  // Messages

  /** Newest first. */
  async history(conversationId, { beforeMessageId = "", limit = 50 } = {}) {
    const json = await this.call(`${LOGIC}/GetMessageHistory`, { conversationId, beforeMessageId, limit });
    return fill({ messages: [MESSAGE], hasMore: false }, json);
  }

  /** Oldest first. */
  async messagesAfter(conversationId, afterMessageId, { limit = 50 } = {}) {
    const json = await this.call(`${MESSAGES}/ListMessages`, { conversationId, afterMessageId, limit });
    const { messages, hasMore } = fill({ messages: [{ message: MESSAGE }], hasMore: false }, json);
    return { messages: messages.map(({ message }) => message), hasMore };
  }

  async storedMessages(conversationId, limit = 200) {
    return (await this.storedDetails(conversationId, limit)).map(({ message }) => message);
  }

  async markRead(conversationId, messageId) {
    await this.call(`${LOGIC}/MarkMessageRead`, { conversationId, messageId });
  }

  async setTyping(conversationId, typing = true) {
    const now = Date.now();
    if (typing && now - (this.typing.get(conversationId) ?? 0) < TYPING_INTERVAL_MS) return;
    if (!typing && !this.typing.delete(conversationId)) return;
    if (typing) this.typing.set(conversationId, now);
    await this.call(`${EVENTS_SERVICE}/SetTyping`, { conversationId, typing });
  }

  async unread() {
    return fill({ totalCount: 0, conversations: [INFO] }, await this.call(`${LOGIC}/GetUnreadMessages`));
  }

  // Groups

  async createGroup({ name, description = "", avatar = "", memberIds = [], maxMembers = 0 }) {
    const request = { name, description, avatar, memberIds, maxMembers };
    return fill(GROUP, (await this.call(`${LOGIC}/CreateGroup`, request)).group);
  }

  async getGroup(groupId) {
    return fill(GROUP, (await this.call(`${LOGIC}/GetGroupInfo`, { groupId })).group);
  }

  async updateGroup(groupId, { name = "", description = "", avatar = "", maxMembers = 0 }) {
    const request = { groupId, name, description, avatar, maxMembers };
    return fill(GROUP, (await this.call(`${LOGIC}/UpdateGroup`, request)).group);
  }

  async joinGroup(groupId) {
    await this.call(`${LOGIC}/JoinGroup`, { groupId });
  }

  async leaveGroup(groupId) {
    await this.call(`${LOGIC}/LeaveGroup`, { groupId });
  }

  async members(groupId, { page = 1, limit = 50 } = {}) {
    const json = await this.call(`${LOGIC}/GetGroupMembers`, { groupId, pagination: { page, limit } });
    return fill({ members: [MEMBER], pagination: PAGINATION }, json);
  }

  async addMembers(groupId, userIds) {
    return (await this.call(`${LOGIC}/AddGroupMember`, { groupId, userIds })).addedUserIds ?? [];
  }

  async removeMember(groupId, userId) {
    await this.call(`${LOGIC}/RemoveGroupMember`, { groupId, userId });
  }

  // Sessions

  async sessions() {
    return fill({ sessions: [SESSION] }, await this.call(`${SESSIONS}/ListSessions`)).sessions;
  }

  async revokeSession(sessionId) {
    await this.call(`${SESSIONS}/RevokeSession`, { sessionId });
  }
}
