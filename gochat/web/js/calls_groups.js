/** What one does in a group, by one's role there. */
class GroupCalls extends MessageCalls {
  // Members

  async listMembers(groupId, { query = "", pageToken = "", limit = 50 } = {}) {
    const json = await this.call(`${GROUPS}/ListMembers`, { groupId, query, pageToken, limit });
    return fill({ members: [MEMBER_DETAIL], nextPageToken: "" }, json);
  }

  async member(groupId, userId) {
    return fill(MEMBER_DETAIL, (await this.call(`${GROUPS}/GetMember`, { groupId, userId })).member);
  }

  async setRole(groupId, userId, role) {
    await this.call(`${GROUPS}/SetMemberRole`, { groupId, userId, role });
  }

  async transferOwnership(groupId, userId) {
    await this.call(`${GROUPS}/TransferOwnership`, { groupId, userId });
  }

  async setTitle(groupId, userId, title) {
    await this.call(`${GROUPS}/SetMemberTitle`, { groupId, userId, title });
  }

  async setNickname(groupId, nickname, userId = "") {
    await this.call(`${GROUPS}/SetMemberNickname`, { groupId, nickname, userId });
  }

  async muteMember(groupId, userId, until) {
    await this.call(`${GROUPS}/MuteMember`, { groupId, userId, until: toTime(until) });
  }

  /** until: 0 or Infinity for good. */
  async banMember(groupId, userId, { until = 0, reason = "" } = {}) {
    await this.call(`${GROUPS}/BanMember`, { groupId, userId, until: until === Infinity ? 0 : until, reason });
  }

  async unbanMember(groupId, userId) {
    await this.call(`${GROUPS}/UnbanMember`, { groupId, userId });
  }

  async bans(groupId, { pageToken = "", limit = 50 } = {}) {
    const json = await this.call(`${GROUPS}/ListBannedMembers`, { groupId, pageToken, limit });
    return fill({ bans: [BAN], nextPageToken: "" }, json);
  }

  // The group

  async groupSettings(groupId) {
    return fill(GROUP_SETTINGS, (await this.call(`${GROUPS}/GetGroupSettings`, { groupId })).settings);
  }

  async updateGroupSettings(groupId, changes) {
    return fill(GROUP_SETTINGS, (await this.call(`${GROUPS}/UpdateGroupSettings`, { groupId, ...changes })).settings);
  }

  async dissolveGroup(groupId) {
    await this.call(`${GROUPS}/DissolveGroup`, { groupId });
  }

  async searchGroups(query = "", { pageToken = "", limit = 20 } = {}) {
    const json = await this.call(`${GROUPS}/SearchGroups`, { query, pageToken, limit });
    return fill({ groups: [GROUP_PREVIEW], nextPageToken: "" }, json);
  }

  // Coming in

  async createInvitation(groupId, { expiresAt = 0, maxUses = 0 } = {}) {
    const json = await this.call(`${GROUPS}/CreateInvitation`, { groupId, expiresAt, maxUses });
    return fill(INVITATION, json.invitation);
  }

  async invitations(groupId) {
    return fill({ invitations: [INVITATION] }, await this.call(`${GROUPS}/ListInvitations`, { groupId })).invitations;
  }

  async revokeInvitation(groupId, token) {
    await this.call(`${GROUPS}/RevokeInvitation`, { groupId, token });
  }

  /** The group that it is for. */
  async invitation(token) {
    return fill(GROUP_PREVIEW, (await this.call(`${GROUPS}/GetInvitation`, { token })).group);
  }

  /** Returns the id of the group. */
  async joinByInvitation(token) {
    return (await this.call(`${GROUPS}/JoinByInvitation`, { token })).groupId;
  }

  async requestToJoin(groupId, note = "") {
    await this.call(`${GROUPS}/RequestToJoin`, { groupId, note });
  }

  async cancelRequest(groupId) {
    await this.call(`${GROUPS}/CancelRequest`, { groupId });
  }

  async joinRequests(groupId, { pageToken = "", limit = 50 } = {}) {
    const json = await this.call(`${GROUPS}/ListJoinRequests`, { groupId, pageToken, limit });
    return fill({ requests: [JOIN_REQUEST], nextPageToken: "" }, json);
  }

  async decideRequest(groupId, userId, accept) {
    await this.call(`${GROUPS}/DecideJoinRequest`, { groupId, userId, accept });
  }
}
