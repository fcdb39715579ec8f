const PUSHES = "gochat.api.push.v1.PushService";

/** Where one is notified. */
class PushCalls extends LoginCalls {
  async registerPushToken({ platform, token, p256dh = "", auth = "" }) {
    const json = await this.call(`${PUSHES}/RegisterPushToken`, { platform, token, p256dh, auth });
    return fill(PUSH_TOKEN, json.token);
  }

  async unregisterPushToken(platform, token) {
    await this.call(`${PUSHES}/UnregisterPushToken`, { platform, token });
  }

  async pushTokens() {
    return fill({ tokens: [PUSH_TOKEN] }, await this.call(`${PUSHES}/ListPushTokens`)).tokens;
  }

  async webPushKey() {
    return (await this.call(`${PUSHES}/GetWebPushKey`)).publicKey;
  }
}
