// What a language model is asked and what becomes of it: a bar for each question, and figures. No page, no clock.

import { seconds } from "./telling.js";

const KEPT = 500; // questions, and times to the first piece

/** `first` s until its first pieces, the newest last; tokens as the server counts them. */
export class Mind {
  asked = 0;
  drafts = 0;
  thrown = 0; // drafts
  failed = 0;
  firsts = [];
  input = 0;
  cached = 0;
  output = 0;
  #asks = new Map(); // id -> {item, purpose, turn, first, tokens, over}
  #add;

  /** `add(start, tone, event)` makes a bar that lasts. */
  constructor(add) {
    this.#add = add;
  }

  /** Takes note of an event; true where it says nothing new. */
  take(e) {
    switch (e.type) {
      case "Ask": this.#asked(e); break;
      case "Delta": return this.#piece(e);
      case "Withdraw": this.#withdrawn(e); break;
      case "TurnCommitted": this.#committed(e); break;
      default:
    }
    return false;
  }

  /** The model's share in the answer to `turn`, in words; "" if it was not asked. */
  share(turn) {
    const asks = [...this.#asks.values()].filter((ask) => ask.turn === turn && ask.purpose === "reply");
    const first = asks.find(({ first }) => first !== null)?.first;
    const tokens = asks.reduce((sum, ask) => sum + (ask.tokens ?? 0), 0);
    return [first === undefined ? "" : `the model after ${seconds(first)}`, tokens ? `${tokens} tokens` : ""].filter(Boolean).join(", ");
  }

  /** Median of the times to the first piece, s; null if there was none. */
  get first() {
    const sorted = [...this.firsts].sort((one, other) => one - other);
    return sorted.length ? (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2 : null;
  }

  /** By `price` of a million tokens; null if that is not known. */
  cost(price) {
    if (!price) return null;
    return ((this.input - this.cached) * price.input + this.cached * price.cached + this.output * price.output) / 1e6;
  }

  #asked(e) {
    const draft = e.purpose === "draft";
    this.asked += 1;
    this.drafts += draft;
    const item = this.#add(e.t, draft ? "held" : "agent", e);
    this.#asks.set(e.id, { item, purpose: e.purpose, turn: e.turn, first: null, tokens: null, over: "" });
    while (this.#asks.size > KEPT) this.#asks.delete(this.#asks.keys().next().value);
    this.#label(e.id);
  }

  #piece(e) {
    const ask = this.#asks.get(e.id);
    if (!ask || ask.first !== null) return true;
    ask.first = e.t - ask.item.start;
    ask.item.notch = e.t;
    ask.item.events.push(e);
    this.#label(e.id);
    return false;
  }

  /** A draft of this turn has become the answer, unless it is withdrawn now. */
  #committed(e) {
    for (const [id, ask] of this.#asks) {
      if (ask.turn !== e.turn || ask.purpose !== "draft" || ask.over === "withdrawn") continue;
      Object.assign(ask, { purpose: "reply", drafted: true });
      ask.item.events.push(e);
      if (ask.item.tone === "held") ask.item.tone = "agent";
      this.#label(id);
    }
  }

  #withdrawn(e) {
    const ask = this.#asks.get(e.id);
    if (!ask) return;
    if (ask.drafted) ask.purpose = "draft";
    if (ask.purpose === "draft") this.thrown += 1;
    ask.over = "withdrawn";
    ask.item.tone = "faint";
    ask.item.end ??= e.at;
    ask.item.events.push(e);
    this.#label(e.id);
  }

  /** An `Outcome` of a question. */
  ended(e) {
    const ask = this.#asks.get(e.id);
    const { first_ms: first, input_tokens: input, cached_tokens: cached, output_tokens: output, error } = e.result ?? {};
    this.input += input ?? 0;
    this.cached += cached ?? 0;
    this.output += output ?? 0;
    const bad = e.status === "failed" || e.status === "timeout" || e.status === "refused";
    this.failed += bad;
    if (typeof first === "number" && ask?.over !== "withdrawn") this.firsts = [...this.firsts.slice(1 - KEPT), first / 1000];
    if (!ask) return;
    ask.item.end = Math.max(e.at, ask.item.start);
    ask.item.events.push(e);
    ask.tokens = output ?? null;
    if (ask.over !== "withdrawn") {
      ask.over = bad ? `${e.status}${error ? `: ${error.replaceAll("_", " ")}` : ""}` : e.status;
      ask.item.cut = e.status === "cut";
      ask.item.tone = bad ? "alarm" : ask.purpose === "draft" ? "held" : e.status === "done" ? "good" : "agent";
    }
    this.#label(e.id);
  }

  #label(id) {
    const { item, purpose, drafted, first, tokens, over } = this.#asks.get(id);
    const parts = [drafted && purpose === "reply" ? "draft taken" : purpose];
    if (over && over !== "done") parts.push(over);
    if (first !== null) parts.push(seconds(first));
    if (tokens) parts.push(`${tokens} tokens`);
    item.label = parts.join(", ");
    item.width = undefined;
  }
}
