// The timeline's panel: lanes or list, its buttons, and the particulars of what was chosen.

import { LANES } from "./chronicle.js";
import { EventList, pairs } from "./eventlist.js";
import { Pointing } from "./pointing.js";
import { clock, seconds, tell } from "./telling.js";
import { Timeline } from "./timeline.js";

const NOTHING = "Choose something in the timeline to see what it was decided from.";
const TOLD = 6; // events of one item
const place = (id) => document.getElementById(id);

export class TimePanel {
  list = new EventList({ list: place("events"), filter: place("filter"), kind: place("kind"), panel: place("list-panel") });
  #timeline = new Timeline(place("timeline"));
  #pointing = new Pointing(place("timeline"), this.#timeline);

  constructor() {
    for (const { name } of LANES) place("lane-names").append(Object.assign(document.createElement("li"), { textContent: name }));
    const timeline = this.#timeline;
    timeline.onselect = this.#pointing.onhover = particularsOf;
    timeline.onpause = (paused) => place("hold").setAttribute("aria-pressed", String(paused));
    this.#pointing.onzoom = (step) => this.#zoom(step);
    place("zoom-in").addEventListener("click", () => this.#zoom(-1));
    place("zoom-out").addEventListener("click", () => this.#zoom(1));
    place("hold").addEventListener("click", () => timeline.pause(!timeline.paused));
    place("as-lanes").addEventListener("click", () => this.#as(false));
    place("as-list").addEventListener("click", () => this.#as(true));
    particularsOf(null);
  }

  /**
   * Show `chronicle`. `now()`: session time (s), of the right edge, or of the head in a recording, where `seek(t)` goes
   * elsewhere.
   */
  show(chronicle, { now, seek = null }) {
    const timeline = this.#timeline;
    Object.assign(timeline, { chronicle, now, recorded: seek !== null });
    this.#pointing.onseek = seek;
    this.list.chronicle = chronicle;
    this.list.limit = seek ? now : () => Infinity;
    timeline.pause(false);
    timeline.select(null);
  }

  tick(time) {
    this.#timeline.tick(time);
  }

  recolour() {
    this.#timeline.recolour();
  }

  #zoom(step) {
    this.#timeline.zoom(step);
    const { span } = this.#timeline;
    place("span").textContent = span < 60 ? `${span} s` : `${span / 60} min`;
  }

  #as(list) {
    place("as-lanes").setAttribute("aria-pressed", String(!list));
    place("as-list").setAttribute("aria-pressed", String(list));
    place("lanes").hidden = list;
    place("list-panel").hidden = !list;
    for (const each of document.querySelectorAll(".lanes-only")) each.hidden = list;
    this.list.update(true);
  }
}

function particularsOf(item) {
  place("evidence").classList.toggle("empty", !item);
  place("evidence-title").textContent = item ? title(item) : NOTHING;
  const events = item ? item.events.filter(({ type }) => type !== "Played").slice(-TOLD).reverse() : [];
  const told = events.flatMap((event) => [Object.assign(document.createElement("h3"), { textContent: tell(event) }), pairs(event)]);
  place("evidence-body").replaceChildren(...told);
}

function title({ lane, start, end, latency, share, label, events }) {
  const { name } = LANES.find(({ id }) => id === lane);
  const lasted = end !== null && end > start ? `, ${seconds(end - start)}` : "";
  const model = share?.();
  const answered = latency === undefined ? "" : `answered after ${seconds(latency)}${model ? ` (${model})` : ""}`;
  const what = answered || label || tell(events[0]);
  return `${name} at ${clock(start, 2)}${lasted}: ${what}`;
}
