const ENTER = Symbol("enter"); // (rpc, request, isGuest): signs in by an RPC whose answer has the user and their tokens
const ADOPT = Symbol("adopt"); // (json): takes the tokens of a new session of the user who has an account now

/** How one signs in. */
class LoginCalls extends GroupCalls {
  async register({ username, password, nickname = "", email = "" }) {
    await this[ENTER]("Register", { username, password, nickname, email });
  }

  async signInWith(token) {
    await this[ENTER]("ExchangeToken", { token });
  }

  async signInAsGuest(nickname = "") {
    await this[ENTER]("CreateGuest", { nickname }, true);
  }

  async claimAccount({ username = "", password = "", token = "" }) {
    await this[ADOPT](await this.call(`${SESSIONS}/ClaimAccount`, { username, password, token }));
  }

  async changePassword(oldPassword, newPassword) {
    await this[ADOPT](await this.call(`${SESSIONS}/ChangePassword`, { oldPassword, newPassword }));
  }

  async signInMethods() {
    const json = await this.call(`${SESSIONS}/ListSignInMethods`, {}, { anonymous: true });
    return fill({ password: false, registration: false, guests: false, issuers: [{ name: "", label: "" }] }, json);
  }

  async beginSignIn(issuer, redirectUri) {
    const json = await this.call(`${SESSIONS}/BeginSignIn`, { issuer, redirectUri }, { anonymous: true });
    return fill({ authorizationUrl: "", state: "", codeVerifier: "" }, json);
  }

  async finishSignIn({ issuer, redirectUri, code, state, codeVerifier }) {
    await this[ENTER]("FinishSignIn", { issuer, redirectUri, code, state, codeVerifier });
  }
}
