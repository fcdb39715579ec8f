// Says that the server cannot be reached, once that has lasted.

import { client, html, useEffect, useState, useUpdates } from "./ui.js";
import { t } from "./text.js";
import { Icon } from "./parts.js";

const SHOW_AFTER_MS = 1000;

export function Banner() {
  const [isLasting, setLasting] = useState(false);
  useUpdates("connection");
  const isAway = client.connection !== "online";
  useEffect(() => {
    if (!isAway) return setLasting(false);
    const timer = setTimeout(() => setLasting(true), SHOW_AFTER_MS);
    return () => clearTimeout(timer);
  }, [isAway]);
  return html`<div class="banner" role="status">
    ${isAway && isLasting && html`<p>
      <${Icon} name="offline" /><span>${t("disconnected")}</span>
      <button type="button" class="link" onClick=${() => client.reconnect()}>${t("retryNow")}</button>
    </p>`}
  </div>`;
}
