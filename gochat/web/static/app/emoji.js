// The emoji that one picks from, and those that one picked last.

const CATEGORIES = {
  smileys: "😀 😃 😄 😁 😆 😅 🤣 😂 🙂 🙃 😉 😊 😇 🥰 😍 🤩 😘 😋 😜 🤪 🤗 🤭 🤫 🤔 🤐 😐 😏 😒 🙄 😬 😌 😔 😴 🤒 🤕 🤢 🥵 🥶 🥳 😎 🤓 🧐 😕 😟 😮 😲 😳 🥺 😢 😭 😱 😤 😡 🤯",
  people: "👍 👎 👌 ✌️ 🤞 🤘 🤙 👈 👉 👆 👇 ☝️ ✋ 👋 🤝 👏 🙌 🙏 💪 ✍️ 👀 🧠 🙋 🙆 🙅 🤷 🤦 💃 🕺 👶 🧑‍💻 🧑‍🍳 🦸 🧙",
  hearts: "❤️ 🧡 💛 💚 💙 💜 🖤 🤍 💔 💕 💯 🔥 ✨ ⭐ 🌟 💥 💦 💤",
  nature: "🐶 🐱 🐭 🐰 🦊 🐻 🐼 🐸 🐵 🐔 🐧 🦉 🦄 🐝 🦋 🐢 🐙 🐳 🌵 🌲 🌸 🌻 🍀 🍁 🌈 ☀️ 🌙 ⛄",
  food: "🍎 🍌 🍓 🍒 🍑 🍍 🥑 🍞 🧀 🍔 🍟 🍕 🌮 🍣 🍜 🥟 🍦 🎂 🍪 🍫 ☕ 🍵 🍺 🍷",
  things: "🎉 🎊 🎁 🎈 🏆 🥇 ⚽ 🏀 🎮 🎵 🎸 🚀 ✈️ 🚗 🚲 🏠 💡 📌 📎 📅 ✏️ 📚 💻 📱 🔑 🔒 ⏰ 🛠️ ✅ ❌ ❓ ❗ ⚠️ ♻️ 🏁 🚩",
};
export const EMOJI = Object.entries(CATEGORIES).map(([name, list]) => ({ name, emoji: list.split(" ") }));

const USUAL = ["👍", "❤️", "😂", "🎉", "😮", "😢"];

/** Six: those that one picked last, then those that all pick. */
export function frequentEmoji() {
  return [...new Set([...picked(), ...USUAL])].slice(0, USUAL.length);
}

export function rememberEmoji(emoji) {
  const isKnown = EMOJI.some((category) => category.emoji.includes(emoji));
  if (!isKnown || USUAL.includes(emoji)) return;
  localStorage.setItem("emoji", JSON.stringify([emoji, ...picked().filter((each) => each !== emoji)].slice(0, 2)));
}

function picked() {
  try {
    return JSON.parse(localStorage.getItem("emoji")) ?? [];
  } catch {
    return [];
  }
}
