// The conversation told from events: who said what, as far as it is known. No page, no clock.
//
// The agent's words appear as they are heard (`Played`), with the spelling of what it set out to say; what it will say
// is kept back until then.

import { behaves, why } from "./telling.js";

const KEPT = 600; // s of session time
const ROWS = 400;

/**
 * `rows`: in the order in which they began, each
 * `{key, side: "person" | "agent" | "note", start, text, state, detail, latency, revision}`. `state` of a person's is
 * "partial" or "final", of the agent's "thinking", "speaking", "paused", "cut" or "done", of a note "faint", "unheard", "work" or "alarm".
 */
export class Story {
  rows = [];
  changes = 0; // counts events that were of importance to `rows`
  manner = null; // how the agent behaves, where that is known
  onfinished = () => {}; // (row): nothing more will change in it, to be read out
  #byKey = new Map();
  #open = null; // row of the turn that somebody has
  #segments = new Map(); // segment -> row
  #says = new Map(); // id -> {text, turn, shown}
  #ends = new Map(); // turn -> session time (s) at which the person's speech ended
  #asks = new Map(); // id of a question to a model -> {turn, draft, drafted}
  #stood = new Map(); // robot -> how it stands, in a word
  #thought = new Map(); // turns for which a model was asked
  #notes = 0;

  clear() {
    this.rows = [];
    for (const map of [this.#byKey, this.#segments, this.#says, this.#ends, this.#asks, this.#thought, this.#stood]) map.clear();
    this.#open = this.manner = null;
    this.changes += 1;
  }

  take(event) {
    const e = event;
    switch (e.type) {
      case "TurnOpened":
        this.#open = this.#row(`p${e.turn}`, "person", e.start_ns / 1e9, { state: "partial", parts: new Map() });
        break;
      case "Words": this.#words(e); break;
      case "TurnCommitted": this.#committed(e); break;
      case "TurnDropped": this.#dropped(e); break;
      case "Say":
        this.#says.set(e.id, { text: e.text, turn: e.turn, shown: 0 });
        if (this.#thought.has(e.turn) && !e.backchannel) this.#thinks(e.t, e.turn); // until it sounds
        break;
      case "Ask": this.#asked(e); break;
      case "Withdraw": this.#withdrawn(e); break;
      case "Adjusted":
        this.#note(e.t, `Behaviour: ${behaves(e.manner, this.manner ?? undefined) || "as it was"}`, "work");
        this.manner = e.manner;
        break;
      case "PlayStarted": this.#began(e); break;
      case "Played": this.#played(e); break;
      case "OverlapPaused": this.#agent(e.turn, { state: "paused" }); break;
      case "OverlapResumed": this.#agent(e.turn, { state: "speaking" }); break;
      case "OverlapCut": this.#agent(e.turn, { state: "cut", detail: why(e.reason) }, true); break;
      case "Outcome": this.#outcome(e); break;
      case "Call":
      case "Command":
        this.#row(`d${e.id}`, "note", e.t, { state: "work", text: `${e.name.replaceAll("_", " ")} …`, name: e.name });
        break;
      case "Halt": this.#note(e.t, `Stop: everything halts (${e.reason})`, "alarm"); break;
      case "Fault": this.#note(e.t, `${e.where}: ${e.message}`, "alarm"); break;
      case "Attached": if (!this.#attached(e)) return; break;
      case "BodyState": if (!this.#stands(e)) return; break;
      case "Recovered": this.#note(e.t, `${e.where} is back${e.message ? `: ${e.message}` : ""}`, "work"); break;
      default: return;
    }
    this.changes += 1;
    this.#forget(e.at);
  }

  #row(key, side, start, fields) {
    let row = this.#byKey.get(key);
    if (!row) {
      row = { key, side, start, text: "", state: "", detail: "", latency: null, revision: 0, ...fields };
      this.#byKey.set(key, row);
      let place = this.rows.length;
      while (place > 0 && this.rows[place - 1].start > start) place -= 1;
      this.rows.splice(place, 0, row);
    } else {
      Object.assign(row, fields);
    }
    row.revision += 1;
    return row;
  }

  #note(t, text, state) {
    this.#notes += 1;
    this.onfinished(this.#row(`n${this.#notes}`, "note", t, { state, text }));
  }

  #words({ segment, text, guess, final }) {
    const row = this.#segments.get(segment) ?? this.#open;
    if (!row || row.side !== "person" || row.state === "final") return;
    this.#segments.set(segment, row);
    row.parts.set(segment, text || (final && guess ? `(something like “${guess}”)` : ""));
    row.text = [...row.parts.values()].filter(Boolean).join(" ");
    row.revision += 1;
  }

  #committed({ turn, text, guess, reason, start_ns: start, end_ns: end }) {
    this.#ends.set(turn, reason === "unasked" ? null : end / 1e9);
    if (reason === "unasked") return;
    const said = text || (guess ? `(not understood; nearest: “${guess}”)` : "(not understood)");
    const detail = reason === "typed" ? "typed" : "";
    const row = this.#row(`p${turn}`, "person", start / 1e9, { state: "final", text: said, detail });
    if (this.#open === row) this.#open = null;
    this.onfinished(row);
    for (const ask of this.#asks.values()) {
      if (ask.turn !== turn || !ask.draft) continue; // it has become the answer, unless it is withdrawn now
      Object.assign(ask, { draft: false, drafted: true });
      this.#thinks(end / 1e9, turn);
    }
  }

  #attached({ t, where, model }) {
    if (this.#stood.has(where)) return false;
    this.#stood.set(where, "");
    this.#note(t, `${where} is attached${model ? `: ${model}` : ""}`, "work");
    return true;
  }

  /** Told when it changes: stopped for good, not heard, free and heard again. */
  #stands({ t, where, link, estop }) {
    const now = estop === "latched" ? "latched" : link === "unknown" ? "unknown" : "heard";
    const before = this.#stood.get(where) ?? "";
    if (now === before || (!before && now === "unknown")) return false; // at first it is not heard yet
    this.#stood.set(where, now);
    if (!before && now === "heard") return false;
    const told = { latched: "is stopped, and stays so until an operator resets it", unknown: "is not heard any more", heard: before === "latched" ? "may move again" : "is heard again" };
    this.#note(t, `${where} ${told[now]}`, now === "heard" ? "work" : "alarm");
    return true;
  }

  #asked({ t, id, turn, purpose }) {
    if (purpose === "summary") return;
    this.#thought.set(turn, id);
    this.#asks.set(id, { turn, draft: purpose === "draft" });
    if (purpose === "reply") this.#thinks(t, turn);
  }

  #withdrawn({ id }) {
    const ask = this.#asks.get(id);
    if (!ask) return;
    ask.draft ||= !!ask.drafted;
    this.#asks.delete(id);
    this.#settle(ask.turn);
  }

  /** The agent has been asked and nothing is heard yet: a row in the place of the answer, until there is one. */
  #thinks(t, turn) {
    if (this.#byKey.get(`a${turn}`)?.state !== "speaking") this.#row(`t${turn}`, "agent", t, { state: "thinking" });
  }

  /** No question of `turn` is open any more and nothing is to be said: it does not think. */
  #settle(turn, heard = false) {
    const open = [...this.#asks.values()].some((ask) => ask.turn === turn && !ask.draft);
    const due = [...this.#says.values()].some((say) => say.turn === turn);
    const row = this.#byKey.get(`t${turn}`);
    if (!row || (!heard && (open || due))) return;
    this.#byKey.delete(row.key);
    this.rows = this.rows.filter((each) => each !== row);
  }

  #dropped({ t, turn, reason, text }) {
    const row = this.#byKey.get(`p${turn}`);
    const said = text || row?.text || "";
    if (row && this.#open === row) this.#open = null;
    const told = this.#row(`p${turn}`, "note", t, { state: "faint", text: `${said ? `“${said}”: ` : ""}${why(reason)}` });
    told.side = "note";
  }

  #began({ t, turn }) {
    this.#settle(turn, true);
    const end = this.#ends.get(turn);
    const fresh = !this.#byKey.has(`a${turn}`);
    const row = this.#row(`a${turn}`, "agent", t, { state: "speaking", said: this.#byKey.get(`a${turn}`)?.said ?? new Map() });
    if (fresh && end !== undefined && end !== null) row.latency = t - end;
  }

  #played({ turn, id, text }) {
    const say = this.#says.get(id);
    const row = this.#byKey.get(`a${turn}`);
    if (!row || row.state === "done") return;
    if (!say) {
      row.said.set(id, `${row.said.get(id) ?? ""} ${text}`.trim());
    } else {
      const found = say.text.toLowerCase().indexOf(text.toLowerCase(), say.shown);
      if (found >= 0) say.shown = found + text.length + say.text.slice(found + text.length).match(/^\S*/)[0].length;
      row.said.set(id, found >= 0 ? say.text.slice(0, say.shown) : `${row.said.get(id) ?? ""} ${text}`.trim());
    }
    this.#join(row);
  }

  #agent(turn, fields, ended = false) {
    const row = this.#byKey.get(`a${turn}`);
    if (!row || row.state === "done") return;
    Object.assign(row, fields);
    row.revision += 1;
    if (ended) row.cut = true;
  }

  #outcome({ t, turn, id, action, name, status, detail, result }) {
    if (action === "Ask") {
      const ask = this.#asks.get(id);
      this.#asks.delete(id);
      const bad = status === "failed" || status === "timeout" || status === "refused";
      if (bad && ask && !ask.draft) this.#note(t, `The model did not answer: ${detail || status}`, "alarm");
      this.#settle(turn);
      return;
    }
    if (action !== "Say") {
      const how = status === "done" ? "done" : `${status}${detail ? `, ${detail}` : ""}`;
      const row = this.#row(`d${id}`, "note", t, { state: status === "done" ? "work" : "alarm", text: `${(name || action).replaceAll("_", " ")}: ${how}` });
      this.onfinished(row);
      return;
    }
    const row = this.#byKey.get(`a${turn}`);
    const say = this.#says.get(id);
    this.#says.delete(id);
    this.#settle(turn);
    if (!row) {
      if (status !== "failed" && status !== "timeout") return;
      if (say?.text) this.#unheard(t, say.text);
      else this.#note(t, `The agent could not speak: ${detail || status}`, "alarm");
      return;
    }
    if (typeof result === "string" && ["done", "cut", "failed"].includes(status)) row.said.set(id, result);
    this.#join(row);
    if (status === "failed" && say) this.#unheard(t, rest(say.text, result));
    const more = [...this.#says.values()].some((say) => say.turn === turn);
    if (status === "cut" || row.cut) {
      Object.assign(row, { state: "cut", detail: row.detail || detail });
    } else if (!more) {
      row.state = "done";
    }
    if (!more) this.onfinished(row);
  }

  /** What the agent had to say and nobody could hear: who only reads has the answer nevertheless. */
  #unheard(t, text) {
    if (text) this.#note(t, `not heard: ${text}`, "unheard");
  }

  #join(row) {
    row.text = [...row.said.values()].filter(Boolean).join(" ");
    row.revision += 1;
  }

  /** Memory stays bounded, however long the session lasts. */
  #forget(now) {
    if (this.rows.length < ROWS && !(this.rows.length && this.rows[0].start < now - KEPT)) return;
    const kept = this.rows.filter((row, place) => row === this.#open || (row.start >= now - KEPT && place >= this.rows.length - ROWS));
    const keys = new Set(kept.map((row) => row.key));
    for (const key of this.#byKey.keys()) if (!keys.has(key)) this.#byKey.delete(key);
    for (const [segment, row] of this.#segments) if (!keys.has(row.key)) this.#segments.delete(segment);
    for (const map of [this.#ends, this.#says, this.#asks, this.#thought]) while (map.size > ROWS) map.delete(map.keys().next().value);
    this.rows = kept;
  }
}

/** What of `text` comes after `heard`, its beginning. */
function rest(text, heard) {
  return typeof heard === "string" && text.startsWith(heard) ? text.slice(heard.length).trim() : text;
}
