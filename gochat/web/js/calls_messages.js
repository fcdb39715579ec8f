const MAX_DETAILS = 199; // of a page: history() lists one more

/** What one does with messages, and how one sees conversations. */
class MessageCalls extends Calls {
  async message(messageId) {
    return fill(DETAIL, (await this.call(`${MESSAGES}/GetMessage`, { messageId })).message);
  }

  /** Oldest first. */
  async detailsAfter(conversationId, afterMessageId, { limit = 50 } = {}) {
    const json = await this.call(`${MESSAGES}/ListMessages`, { conversationId, afterMessageId, limit });
    return fill({ messages: [DETAIL], hasMore: false }, json);
  }

  /** Newest first, as history(). The contract lists details from the oldest on alone: history() says from where. */
  async details(conversationId, { beforeMessageId = "", limit: wantedLimit = 50 } = {}) {
    const limit = Math.min(wantedLimit, MAX_DETAILS);
    const page = await Calls.prototype.history.call(this, conversationId, { beforeMessageId, limit: limit + 1 });
    const wanted = new Set(page.messages.slice(0, limit).map(({ messageId }) => messageId));
    const found = [];
    let after = page.messages[limit]?.messageId ?? "";
    for (let hasMore = wanted.size > 0; hasMore && found.length < wanted.size; ) {
      const next = await this.detailsAfter(conversationId, after, { limit: wanted.size });
      found.push(...next.messages.filter(({ message }) => wanted.has(message.messageId)));
      after = next.messages.at(-1)?.message.messageId;
      hasMore = next.hasMore && !(after > page.messages[0].messageId);
    }
    return { messages: found.reverse(), hasMore: page.hasMore || page.messages.length > limit };
  }

  async edit(messageId, content, { mentions } = {}) {
    const request = { messageId, content, ...(mentions && { mentions: String(mentions) }) };
    return fill(DETAIL, (await this.call(`${MESSAGES}/EditMessage`, request)).message);
  }

  async versions(messageId, { pageToken = "", limit = 50 } = {}) {
    const json = await this.call(`${MESSAGES}/ListVersions`, { messageId, pageToken, limit });
    return fill({ versions: [VERSION], nextPageToken: "" }, json);
  }

  async recall(messageId) {
    await this.call(`${MESSAGES}/RecallMessage`, { messageId });
  }

  async deleteForMe(messageId) {
    await this.call(`${MESSAGES}/DeleteMessage`, { messageId });
  }

  async react(messageId, reaction) {
    await this.call(`${MESSAGES}/AddReaction`, { messageId, reaction });
  }

  async unreact(messageId, reaction) {
    await this.call(`${MESSAGES}/RemoveReaction`, { messageId, reaction });
  }

  async reactions(messageId, { pageToken = "", limit = 50 } = {}) {
    const json = await this.call(`${MESSAGES}/ListReactions`, { messageId, pageToken, limit });
    return fill({ reactions: [USER_REACTION], nextPageToken: "" }, json);
  }

  async pin(messageId) {
    await this.call(`${MESSAGES}/PinMessage`, { messageId });
  }

  async unpin(messageId) {
    await this.call(`${MESSAGES}/UnpinMessage`, { messageId });
  }

  /** The latest pin first. */
  async pinned(conversationId) {
    return fill({ messages: [DETAIL] }, await this.call(`${MESSAGES}/ListPinnedMessages`, { conversationId })).messages;
  }

  // Conversations

  async openDirect(userId) {
    const json = await this.call(`${CONVERSATIONS}/OpenDirect`, { peerUserId: userId });
    return fill(CONVERSATION_DETAIL, json.conversation);
  }

  async conversationDetail(conversationId) {
    const json = await this.call(`${CONVERSATIONS}/GetConversation`, { conversationId });
    return fill(CONVERSATION_DETAIL, json.conversation);
  }

  async listConversations({ pageToken = "", limit = 50, ...filters } = {}) {
    const json = await this.call(`${CONVERSATIONS}/ListConversations`, { pageToken, limit, ...filters });
    return fill({ conversations: [CONVERSATION_DETAIL], nextPageToken: "" }, json);
  }

  async updateSettings(conversationId, { mutedUntil, ...others }) {
    const muted = mutedUntil === undefined ? {} : { mutedUntil: toTime(mutedUntil) };
    const json = await this.call(`${CONVERSATIONS}/UpdateSettings`, { conversationId, ...muted, ...others });
    return fill(SETTINGS, json.settings);
  }

  async receipts(messageId) {
    return fill(RECEIPTS, await this.call(`${CONVERSATIONS}/GetReceipts`, { messageId }));
  }

  /** What became of a message by an event; the same object if nothing. */
  detailAfter(detail, event) {
    return detailAfter(detail, event, this.userId);
  }

  async storedDetails(conversationId, limit = 200) {
    await this.start();
    return (await this.store.list(`message/${conversationId}-`, limit)).map(toDetail);
  }
}
