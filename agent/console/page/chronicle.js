// What the timeline shows, made of events: bars and marks in lanes, and two curves. No page, no clock.

import { Mind } from "./mind.js";
import { why } from "./telling.js";

const KEPT = 600; // s of session time
const MOST = 60000; // items or events

export const LANES = [
  { id: "voice", name: "Voice" },
  { id: "end", name: "End of turn" },
  { id: "person", name: "Person" },
  { id: "agent", name: "Agent" },
  { id: "turns", name: "Turns" },
  { id: "overlaps", name: "Overlaps" },
  { id: "senses", name: "Percepts" },
  { id: "mind", name: "Model" },
  { id: "doing", name: "Tools" },
  { id: "faults", name: "Faults" },
];

/**
 * `items`: by lane, in the order in which they came, each `{lane, start, end, tone, label, events}`: `end` null while it
 * lasts, equal to `start` for a mark; `tone` one of "person", "agent", "held", "faint", "good", "alarm"; `notch` an instant
 * in it that matters: of a turn its commit, of a question to a model the first piece of the answer.
 * `curves`: `voice`, `echo` and `ending`, each an array of numbers t, value, t, value, …
 * `events`: all but `Voice`, for the list. `bounded`: only the last 10 minutes are kept.
 */
export class Chronicle {
  items = Object.fromEntries(LANES.map(({ id }) => [id, []]));
  curves = { voice: [], echo: [], ending: [] };
  events = [];
  routine = new WeakSet(); // of the events, those that say the same again or only a figure
  gauges = new Map(); // "where name" -> value
  mind = new Mind((start, tone, event) => this.#add("mind", start, null, tone, "", event));
  offers = new Map(); // where -> names of what is offered there
  faces = null; // the newest `Faces`
  last = 0; // session time (s) of the newest event
  count = 0; // of events taken
  #bounded;
  #speech = new Map(); // segment -> item
  #turns = new Map();
  #saying = new Map(); // id of the Say -> item that sounds
  #overlap = null;
  #doing = new Map();
  #faults = new Map();
  #seen = "";

  constructor({ bounded = true } = {}) {
    this.#bounded = bounded;
  }

  take(event) {
    this.count += 1;
    this.last = Math.max(this.last, event.at);
    if (event.type === "Voice") {
      this.curves.voice.push(event.t, event.probability);
    } else {
      this.events.push(event);
      this.#place(event);
    }
    if (this.#bounded && this.count % 512 === 0) this.#forget();
  }

  #add(lane, start, end, tone, label, event) {
    const item = { lane, start, end, tone, label, events: [event] };
    this.items[lane].push(item);
    return item;
  }

  #mark(lane, event, tone, label) {
    return this.#add(lane, event.t, event.t, tone, label, event);
  }

  #place(e) {
    switch (e.type) {
      case "SpeechStarted": this.#speech.set(e.segment, this.#add("person", e.t, null, "person", "", e)); break;
      case "SpeechEnded": this.#close(this.#speech.get(e.segment), e.t, e); break;
      case "Words": this.#words(e); break;
      case "TurnEnd":
        this.curves.ending.push(e.t, e.probability);
        this.#mark("end", e, "person", e.probability.toFixed(2));
        break;
      case "TurnWaiting":
        this.curves.ending.push(e.at, e.probability);
        this.#mark("end", { ...e, t: e.at }, "held", e.probability.toFixed(2));
        this.#turns.get(e.turn)?.events.push(e);
        break;
      case "Echo":
        this.curves.echo.push(e.t, e.similarity);
        this.routine.add(e);
        break;
      case "Faces": this.#faces(e); break;
      case "Adjusted": this.#mark("senses", e, "person", "behaviour"); break;
      case "Offered": this.offers.set(e.where, e.offers.map(({ name }) => name)); break;
      case "Ask":
      case "Withdraw":
      case "Delta": if (this.mind.take(e)) this.routine.add(e); break;
      case "Typed": this.#mark("senses", e, "person", `typed “${e.text}”`); break;
      case "StopPressed": this.#mark("senses", e, "alarm", e.latch ? "emergency stop" : "stop pressed"); break;
      case "TurnOpened": this.#turns.set(e.turn, this.#add("turns", e.start_ns / 1e9, null, "person", `${e.turn}`, e)); break;
      case "TurnCommitted": this.#committed(e); break;
      case "TurnDropped": this.#dropped(e); break;
      case "OverlapPaused": this.#overlap = this.#add("overlaps", e.at, null, "held", "paused", e); break;
      case "OverlapResumed": this.#decided(e, "good", `resumed: ${why(e.reason)}`); break;
      case "OverlapCut": this.#decided(e, "alarm", `cut: ${why(e.reason)}`); break;
      case "PlayStarted": this.#began(e); break;
      case "Played": this.#played(e); break;
      case "Pause": for (const [id, item] of this.#saying) this.#switch(id, item, e, "held"); break;
      case "Resume": for (const [id, item] of this.#saying) this.#switch(id, item, e, "agent"); break;
      case "Call":
      case "Command": this.#doing.set(e.id, this.#add("doing", e.t, null, "agent", e.name, e)); break;
      case "Halt": this.#mark("doing", e, "alarm", `halt: ${e.reason}`); break;
      case "Outcome": this.#outcome(e); break;
      case "Fault": this.#faults.set(e.where, this.#mark("faults", e, "alarm", `${e.where}: ${e.error}`)); break;
      case "Recovered": this.#recovered(e); break;
      case "Attached": this.#mark("senses", e, "good", `${e.where} attached`); break;
      case "Tripped": this.#mark("faults", e, e.level === "info" ? "held" : "alarm", `${e.where}: ${e.guard}`); break;
      case "Progress": this.#further(e); break;
      case "BodyState":
      case "Steer":
      case "Steered": this.routine.add(e); break;
      case "Gauge":
        this.gauges.set(`${e.where} ${e.name.replaceAll("_", " ")}`, e.value);
        this.routine.add(e);
        break;
      default:
    }
  }

  #close(item, end, event) {
    if (!item) return;
    item.end = end;
    item.events.push(event);
    item.width = undefined;
  }

  #words(e) {
    const item = this.#speech.get(e.segment);
    if (!item) return;
    if (item.events.at(-1).type === "Words") item.events.pop(); // the newest says all that they said
    item.events.push(e);
    item.label = e.text || (e.guess ? `(${e.guess})` : "");
    item.width = undefined;
    if (e.final && !e.text) item.tone = "faint";
  }

  #faces(e) {
    this.faces = e;
    this.routine.add(e);
    const ids = e.faces.map(({ id }) => id).sort().join(" ");
    if (ids === this.#seen) return;
    this.#seen = ids;
    this.routine.delete(e);
    this.#mark("senses", e, "good", e.faces.length === 1 ? "1 face" : `${e.faces.length} faces`);
  }

  #committed(e) {
    const item = this.#turns.get(e.turn) ?? this.#add("turns", e.start_ns / 1e9, null, "person", `${e.turn}`, e);
    if (item.events.at(-1) !== e) item.events.push(e);
    item.end = e.at;
    item.notch = e.at;
    item.spoken = e.reason === "unasked" ? null : e.end_ns / 1e9;
    if (e.reason === "unasked") item.tone = "agent";
    item.share = () => this.mind.share(e.turn);
    this.mind.take(e);
  }

  #dropped(e) {
    const item = this.#turns.get(e.turn);
    this.#close(item, e.at, e);
    if (item) Object.assign(item, { tone: "faint", label: `${e.turn} ${why(e.reason)}` });
  }

  #decided(e, tone, label) {
    const item = this.#overlap ?? this.#add("overlaps", e.at, null, tone, label, e);
    this.#overlap = null;
    if (item.events.at(-1) !== e) item.events.push(e);
    Object.assign(item, { end: e.at, tone, label, width: undefined });
  }

  #began(e) {
    this.#saying.set(e.id, Object.assign(this.#add("agent", e.t, null, "agent", "", e), { turn: e.turn }));
    const turn = this.#turns.get(e.turn);
    if (!turn || turn.spoken === undefined || turn.spoken === null || turn.latency !== undefined) return;
    turn.latency = e.t - turn.spoken;
    turn.events.push(e);
    turn.label = `${e.turn}  ${turn.latency.toFixed(2)} s`;
    turn.width = undefined;
  }

  #played(e) {
    const item = this.#saying.get(e.id);
    if (!item) return;
    item.label = `${item.label} ${e.text}`.trim();
    item.events.push(e);
    item.width = undefined;
  }

  /** What sounds goes over into another bar: held, or sounding again. */
  #switch(id, item, event, tone) {
    if (item.tone === tone || item.turn > event.turn) return;
    this.#close(item, event.at, event);
    this.#saying.set(id, Object.assign(this.#add("agent", event.at, null, tone, "", event), { turn: item.turn }));
  }

  #outcome(e) {
    if (e.action === "Say") {
      const item = this.#saying.get(e.id);
      this.#close(item, Math.max(e.t, item?.start ?? 0), e);
      if (item && e.status !== "done") item.cut = true;
      this.#saying.delete(e.id);
      return;
    }
    if (e.action === "Ask") {
      this.mind.ended(e);
      return;
    }
    const item = this.#doing.get(e.id) ?? this.#mark("doing", e, "agent", e.name);
    this.#close(item, e.at, e);
    this.#doing.delete(e.id);
    item.tone = e.status === "done" ? "good" : "alarm";
    item.label = `${e.name}: ${e.status}`;
  }

  /** A command goes on at the robot: of pieces that say only how far, the newest is enough. */
  #further(e) {
    const item = this.#doing.get(e.id);
    if (!item) return;
    const before = item.events.at(-1);
    if (before.type === "Progress" && before.state === e.state) {
      item.events.pop();
      this.routine.add(e);
    }
    item.events.push(e);
    item.label = `${e.name}: ${e.state}`;
    item.width = undefined;
  }

  #recovered(e) {
    const item = this.#faults.get(e.where);
    if (!item) this.#mark("faults", e, "good", `${e.where} is back`);
    else this.#close(item, e.at, e);
    this.#faults.delete(e.where);
  }

  #forget() {
    const oldest = this.last - KEPT;
    for (const [lane, items] of Object.entries(this.items)) {
      if (items.length && items[0].start < oldest) this.items[lane] = items.filter(({ end }) => (end ?? Infinity) >= oldest).slice(-MOST);
    }
    for (const curve of Object.values(this.curves)) {
      let gone = 0;
      while (gone < curve.length && curve[gone] < oldest) gone += 2;
      if (gone) curve.splice(0, gone);
    }
    const gone = this.events.findIndex((event) => event.at >= oldest);
    this.events.splice(0, Math.max(gone < 0 ? this.events.length : gone, this.events.length - MOST));
    for (const map of [this.#speech, this.#turns, this.#doing, this.#faults]) {
      while (map.size > 500) map.delete(map.keys().next().value);
    }
  }
}

/** The place in a curve (a multiple of 2) of its first point at or after `t`. */
export function search(curve, t) {
  let low = 0;
  let high = curve.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (curve[middle * 2] < t) low = middle + 1;
    else high = middle;
  }
  return low * 2;
}
