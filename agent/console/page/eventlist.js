// The events as a list of text: the timeline for those who do not see it, and for those who look for something.

import { clock, particulars, tell } from "./telling.js";

const SHOWN = 200;
const PACE = 500; // ms between two updates

export class EventList {
  chronicle = null;
  limit = () => Infinity; // session time up to which events are listed
  #list;
  #filter;
  #kind;
  #panel;
  #drawn = "";
  #open = null; // the event whose particulars are shown

  /** `panel`: it is kept up to date only while it is seen. */
  constructor({ list, filter, kind, panel }) {
    this.#list = list;
    this.#filter = filter;
    this.#kind = kind;
    this.#panel = panel;
    for (const control of [filter, kind]) control.addEventListener("input", () => this.update(true));
    setInterval(() => this.update(), PACE);
  }

  update(now = false) {
    if (!this.chronicle || this.#panel.hidden || document.hidden) return;
    if (!now && this.#list.contains(document.activeElement)) return; // somebody reads: nothing moves under them
    const { events } = this.chronicle;
    const limit = this.limit();
    const text = this.#filter.value.trim().toLowerCase();
    const kind = this.#kind.value;
    const found = [];
    for (let at = events.length - 1; at >= 0 && found.length < SHOWN; at -= 1) {
      const event = events[at];
      if (event.at > limit || (kind === "" && this.chronicle.routine.has(event))) continue;
      if (kind && kind !== "every" && event.topic !== kind) continue;
      if (!text || `${event.type} ${tell(event)}`.toLowerCase().includes(text)) found.push(event);
    }
    const drawn = `${found.length} ${found[0]?.order} ${found.at(-1)?.order} ${this.#open?.order}`;
    if (drawn === this.#drawn && !now) return;
    this.#drawn = drawn;
    this.#list.replaceChildren(...found.map((event) => this.#row(event)));
    if (!found.length) this.#list.append(Object.assign(document.createElement("li"), { className: "none", textContent: "No events to show." }));
  }

  #row(event) {
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-expanded", String(event === this.#open));
    const time = Object.assign(document.createElement("span"), { className: "time", textContent: clock(event.t, 2) });
    const name = Object.assign(document.createElement("span"), { className: `name ${event.topic}`, textContent: event.type });
    button.append(time, name, Object.assign(document.createElement("span"), { className: "text", textContent: tell(event) }));
    button.addEventListener("click", () => {
      this.#open = event === this.#open ? null : event;
      this.update(true);
      [...this.#list.querySelectorAll("button")].find((each) => each.dataset.order === button.dataset.order)?.focus();
    });
    button.dataset.order = event.order;
    row.append(button);
    if (event === this.#open) row.append(pairs(event));
    return row;
  }
}

/** The particulars of an event as a list of names and texts. */
export function pairs(event) {
  const list = document.createElement("dl");
  for (const [name, text] of particulars(event)) {
    const term = Object.assign(document.createElement("dt"), { textContent: name });
    list.append(term, Object.assign(document.createElement("dd"), { textContent: text }));
  }
  return list;
}
