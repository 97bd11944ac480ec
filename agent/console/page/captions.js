// The conversation on the page: one row a turn, changed in place; scrolls along unless the reader has scrolled back.

import { clock } from "./telling.js";

const NEAR = 48; // px from the end that count as being there

export class Captions {
  #list;
  #scroller;
  #later;
  #shown = new Map(); // key -> {element, revision}
  #follow = true;
  person = "Person"; // what the one who talks is called: "You" to themselves

  /** `list`: an ol; `scroller`: what scrolls; `later`: a button that leads back to the newest. */
  constructor(list, scroller, later) {
    this.#list = list;
    this.#scroller = scroller;
    this.#later = later;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    later.addEventListener("click", () => {
      this.#follow = true;
      this.#toEnd();
      scroller.focus();
    });
    new ResizeObserver(() => this.#follow && this.#toEnd()).observe(scroller);
  }

  show(rows) {
    const keys = new Set();
    let changed = false;
    let place = this.#list.firstElementChild;
    for (const row of rows) {
      keys.add(row.key);
      let shown = this.#shown.get(row.key);
      if (!shown) {
        shown = { element: build(), revision: -1 };
        this.#shown.set(row.key, shown);
      }
      if (shown.revision !== row.revision) {
        fill(shown.element, row, this.person);
        shown.revision = row.revision;
        changed = true;
      }
      if (shown.element !== place) this.#list.insertBefore(shown.element, place);
      else place = place.nextElementSibling;
    }
    for (const [key, { element }] of this.#shown) {
      if (keys.has(key)) continue;
      element.remove();
      this.#shown.delete(key);
      changed = true;
    }
    if (changed && this.#follow) this.#toEnd();
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#later.hidden = true;
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    this.#follow = scrollTop + clientHeight > scrollHeight - NEAR;
    this.#later.hidden = this.#follow;
  }
}

function build() {
  const row = document.createElement("li");
  for (const name of ["who", "said", "aside"]) {
    const part = document.createElement(name === "said" ? "p" : "span");
    part.className = name;
    row.append(part);
  }
  return row;
}

function fill(element, row, person) {
  const [who, said, aside] = element.children;
  element.className = `row ${row.side} ${row.state}`;
  element.hidden = !row.text && row.side !== "agent";
  who.textContent = row.side === "note" ? "" : row.side === "person" ? person : "Agent";
  who.title = clock(row.start);
  said.textContent = row.text || "…";
  const asides = [];
  if (row.state === "thinking") asides.push("thinking");
  if (row.state === "paused") asides.push("paused, listening");
  if (row.state === "cut") asides.push(`— interrupted${row.detail && row.detail !== "an interruption" ? `: ${row.detail}` : ""}`);
  else if (row.detail) asides.push(row.detail);
  if (row.latency !== null) asides.push(`${row.latency.toFixed(2)} s`);
  aside.textContent = asides.join("  ·  ");
  aside.title = row.latency === null ? "" : "From the end of what the person said to the first sound of the answer";
}
