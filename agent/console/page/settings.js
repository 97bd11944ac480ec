// What a person prefers, kept by their browser.

const KEY = "visavis";
const DEFAULTS = { theme: "auto", microphone: "", camera: "", processing: true, keys: true, spoken: true };

export const settings = { ...DEFAULTS, ...read() };

export function set(name, value) {
  settings[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // a browser that keeps nothing: it holds until the page is closed
  }
}

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return Object.fromEntries(Object.entries(kept).filter(([name, value]) => typeof value === typeof DEFAULTS[name]));
  } catch {
    return {};
  }
}
