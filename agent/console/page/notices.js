// Messages for people, over the page for a while: notices quietly, alarms at once and until they are closed.

import { settings } from "./settings.js";

const LASTS = 5000; // ms
const MOST = 3;
const place = (id) => document.getElementById(id);

export function notice(text) {
  const shown = put(place("notices"), text);
  setTimeout(() => shown.remove(), LASTS);
}

export function alarm(text) {
  for (const each of place("alarms").children) if (each.firstChild.textContent === text) return;
  put(place("alarms"), text);
}

/** Take away the alarms: what they told is over. */
export function calm() {
  place("alarms").replaceChildren();
}

function put(list, text) {
  const shown = document.createElement("p");
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "Close" });
  close.addEventListener("click", () => shown.remove());
  shown.append(Object.assign(document.createElement("span"), { textContent: text }), close);
  list.append(shown);
  while (list.children.length > MOST) list.firstElementChild.remove();
  return shown;
}

/** For screen readers only, when they have time. */
export function speak(text) {
  if (!settings.spoken) return;
  const log = place("spoken");
  log.append(Object.assign(document.createElement("span"), { textContent: `${text} ` }));
  while (log.children.length > 5) log.firstElementChild.remove();
}
