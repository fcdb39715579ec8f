// Signing in by OpenID Connect: to the provider and back. What was begun waits in this tab alone.

import { client } from "./ui.js";

const KEY = "signIn";

export async function leaveFor(issuer) {
  const redirectUri = location.origin + location.pathname;
  const { authorizationUrl, ...begun } = await client.beginSignIn(issuer, redirectUri);
  sessionStorage.setItem(KEY, JSON.stringify({ ...begun, issuer, redirectUri, hash: location.hash }));
  location.assign(authorizationUrl);
}

/** The provider's answer, if the page was opened with one; it leaves the address. null: with none, or one that this tab
 * has not asked for. */
export function takeAnswer() {
  const query = Object.fromEntries(new URLSearchParams(location.search));
  if (!query.state) return null;
  const begun = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  sessionStorage.removeItem(KEY);
  history.replaceState(null, "", location.pathname + (begun?.hash ?? ""));
  return begun && begun.state === query.state ? { ...begun, code: query.code ?? "" } : null;
}

/** answer: of takeAnswer(). */
export async function comeBack({ hash, ...answer }) {
  if (!answer.code) throw new Error("the provider signed nobody in");
  await client.finishSignIn(answer);
}
