// What a group lets its members do, and how people come into it.

import { client, html, useState } from "./ui.js";
import { t } from "./text.js";
import { Choice, ErrorNote } from "./parts.js";

const WHO = ["WHO_EVERYONE", "WHO_MANAGERS"];
const CHOICES = {
  posting: WHO,
  adding: WHO,
  editing: WHO,
  joining: ["JOINING_OPEN", "JOINING_APPROVAL", "JOINING_INVITATION", "JOINING_CLOSED"],
};
const SLOW_MODE_SECONDS = [0, 5, 10, 30, 60, 300, 900, 3600];

export function GroupSettings({ settings, canChange }) {
  const [error, setError] = useState(null);
  const [isSaved, setSaved] = useState(false);
  const change = async (changes) => {
    setSaved(false);
    await client.updateGroupSettings(settings.groupId, changes).then(() => (setError(null), setSaved(true)), setError);
  };
  const { slowModeSeconds, searchable } = settings;
  const slowModes = [...new Set([...SLOW_MODE_SECONDS, slowModeSeconds])].sort((a, b) => a - b);
  const labels = Object.fromEntries(slowModes.map((seconds) => [seconds, slowModeText(seconds)]));
  return html`<details class="more"><summary>${t("groupSettings")}</summary><fieldset class="settings" disabled=${!canChange}>
    <legend class="unseen">${t("groupSettings")}</legend>
    ${Object.entries(CHOICES).map(([name, values]) => html`<${Choice} key=${name} label=${t(`setting_${name}`)} value=${settings[name]}
      options=${Object.fromEntries(values.map((value) => [value, t(value)]))} onChange=${({ target }) => change({ [name]: target.value })} />`)}
    <${Choice} label=${t("slowMode")} options=${labels} value=${String(slowModeSeconds)}
      onChange=${({ target }) => change({ slowModeSeconds: Number(target.value) })} />
    <label class="check"><input type="checkbox" checked=${searchable} onChange=${({ target }) => change({ searchable: target.checked })} />
      <span>${t("searchable")}</span></label>
    <${ErrorNote} error=${error} />
    <p class="quiet" role="status">${isSaved ? t("saved") : ""}</p>
  </fieldset></details>`;
}

function slowModeText(seconds) {
  if (!seconds) return t("off");
  return seconds < 60 ? t("seconds", { n: seconds }) : t("minutes", { n: seconds / 60 });
}
