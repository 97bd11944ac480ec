// The settings dialog and the theme: what a person prefers, put into effect.

import { set, settings } from "./settings.js";

const THEMES = { auto: "as the system", light: "light", dark: "dark" };
const dark = matchMedia("(prefers-color-scheme: dark)");
const place = (id) => document.getElementById(id);
let tell = () => {};

/** `told()` is called whenever colours change. */
export function themed(told) {
  tell = told;
}

function theme(name) {
  set("theme", name);
  document.documentElement.dataset.theme = name;
  place("theme-text").textContent = `Theme: ${THEMES[name]}`;
  place("theme-choice").value = name;
  tell();
}

/** Offer the microphones and cameras there are. Browsers tell their names once one of them was allowed. */
export async function devices() {
  const found = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  for (const [name, kind] of [["microphone", "audioinput"], ["camera", "videoinput"]]) {
    const options = found.filter((each) => each.kind === kind && each.deviceId && each.deviceId !== "default");
    place(`${name}-device`).replaceChildren(
      new Option("as the browser chooses", ""),
      ...options.map(({ label, deviceId }) => new Option(label || name, deviceId)),
    );
    const known = options.some(({ deviceId }) => deviceId === settings[name]);
    place(`${name}-device`).value = known ? settings[name] : "";
  }
}

place("theme").addEventListener("click", () => {
  const order = dark.matches ? ["auto", "light", "dark"] : ["auto", "dark", "light"]; // the first press changes something
  theme(order[(order.indexOf(settings.theme) + 1) % order.length]);
});
place("theme-choice").addEventListener("change", (event) => theme(event.target.value));
dark.addEventListener("change", () => tell());
for (const [id, name] of [["processing", "processing"], ["keys", "keys"], ["spoken-captions", "spoken"]]) {
  place(id).checked = settings[name];
  place(id).addEventListener("change", (event) => set(name, event.target.checked));
}
for (const name of ["microphone", "camera"]) {
  place(`${name}-device`).addEventListener("change", (event) => set(name, event.target.value));
}
theme(THEMES[settings.theme] ? settings.theme : "auto");
