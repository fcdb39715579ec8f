// The texts of the page, and times as people write them.

import { ENGLISH } from "./text.en.js";
import { CHINESE } from "./text.zh.js";

const LANGUAGES = { en: ENGLISH, zh: CHINESE };
export const LANGUAGE_NAMES = { en: "English", zh: "中文" };

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
document.documentElement.lang = language;

export function currentLanguage() {
  return language;
}

export function setLanguage(chosen) {
  language = chosen;
  localStorage.setItem("language", chosen);
  document.documentElement.lang = chosen;
  dispatchEvent(new Event("languagechange"));
}

/** The text of that name; {key} in it stands for a value. */
export function t(name, values = {}) {
  return LANGUAGES[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

/** What to tell a person of an error: our words for those that they can meet, else the server's. */
export function errorText(error) {
  const texts = LANGUAGES[language];
  const fields = Object.entries(error.fields ?? {}).map(([field, rule]) => `${field} ${rule}`);
  const name = [error.reason, error.code].find((each) => texts[each]);
  if (name) return t(name, valuesOf(error));
  return fields.length ? fields.join("; ") : error.message;
}

const FOR_GOOD = ["0", "9223372036854775807"];

/** What the text of an error can name: until when, and how long to wait. */
function valuesOf({ details = {}, retryAfterMs = 0 }) {
  const when = (at) => (!at || FOR_GOOD.includes(at) ? t("forGood") : t("until", { when: dateTime(Number(at)) }));
  return {
    muted_until: when(details.muted_until),
    banned_until: when(details.banned_until),
    retry_after_ms: t("wait", { n: Math.ceil((Number(details.retry_after_ms) || retryAfterMs) / 1000) }),
  };
}

export function time(at) {
  return format(at, { hour: "numeric", minute: "2-digit" });
}

export function dateTime(at) {
  return format(at, { dateStyle: "medium", timeStyle: "short" });
}

/** A day as a separator says it. */
export function day(at) {
  const days = daysAgo(at);
  if (days === 0) return t("today");
  if (days === 1) return t("yesterday");
  const isThisYear = new Date(at).getFullYear() === new Date().getFullYear();
  return format(at, { weekday: "long", month: "long", day: "numeric", ...(!isThisYear && { year: "numeric" }) });
}

/** As short as a list needs it: the time today, else the day. */
export function shortDay(at) {
  const days = daysAgo(at);
  if (days === 0) return time(at);
  if (days === 1) return t("yesterday");
  if (days < 7) return format(at, { weekday: "short" });
  return format(at, { year: "2-digit", month: "numeric", day: "numeric" });
}

export function isSameDay(one, other) {
  return new Date(one).toDateString() === new Date(other).toDateString();
}

function daysAgo(at) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  return Math.round((midnight - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000);
}

const formats = new Map();

function format(at, options) {
  const key = language + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(language, options));
  return formats.get(key).format(at);
}
