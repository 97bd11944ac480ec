// Mouse, finger and keys on the timeline: choose, look back, zoom, hold.

import { LANES } from "./chronicle.js";

const DRAG = 6; // px that make a drag of a press

export class Pointing {
  onseek = null; // (t), where pressing beside everything seeks
  onzoom = () => {}; // (step)
  onhover = () => {}; // (item or null), while nothing is chosen
  #canvas;
  #timeline;
  #moved = false;
  #hovered = null;

  constructor(canvas, timeline) {
    this.#canvas = canvas;
    this.#timeline = timeline;
    canvas.addEventListener("click", (event) => this.#press(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("pointerleave", () => this.#hover(null));
    this.#drag();
  }

  #press({ offsetX, offsetY }) {
    if (this.#moved) return;
    const item = this.#timeline.itemAt(offsetX, offsetY);
    this.#timeline.select(item);
    if (!item) this.onseek?.(this.#timeline.timeAt(offsetX));
  }

  /** Dragging looks back in time; pointing tells what is there. */
  #drag() {
    const canvas = this.#canvas;
    const timeline = this.#timeline;
    let from = null;
    canvas.addEventListener("pointerdown", ({ clientX }) => {
      from = { x: clientX, right: timeline.edge };
      this.#moved = false;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from || !event.buttons) {
        this.#hover(event.pointerType === "mouse" ? timeline.itemAt(event.offsetX, event.offsetY) : null);
        return;
      }
      const moved = event.clientX - from.x;
      if (!this.#moved && Math.abs(moved) < DRAG) return;
      if (!this.#moved) canvas.setPointerCapture(event.pointerId);
      this.#moved = true;
      timeline.lookTo(from.right - (moved / canvas.clientWidth) * timeline.span);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (from = null));
  }

  #hover(item) {
    if (item === this.#hovered) return;
    this.#hovered = item;
    this.#canvas.classList.toggle("hit", item !== null);
    if (!this.#timeline.selected) this.onhover(item);
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.deltaX) return;
    event.preventDefault();
    const timeline = this.#timeline;
    if (event.ctrlKey) this.onzoom(Math.sign(event.deltaY));
    else timeline.lookTo(timeline.edge + (event.deltaX / this.#canvas.clientWidth) * timeline.span);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const timeline = this.#timeline;
    const act = {
      ArrowLeft: () => this.#step(-1),
      ArrowRight: () => this.#step(1),
      ArrowUp: () => this.#stepLane(-1),
      ArrowDown: () => this.#stepLane(1),
      "+": () => this.onzoom(-1),
      "=": () => this.onzoom(-1),
      "-": () => this.onzoom(1),
      " ": () => timeline.pause(!timeline.paused),
      End: () => {
        timeline.select(null);
        timeline.pause(false);
      },
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #step(by) {
    const timeline = this.#timeline;
    const all = LANES.flatMap(({ id }) => timeline.chronicle.items[id]).sort((one, other) => one.start - other.start);
    const here = all.indexOf(timeline.selected);
    const now = timeline.paused ? timeline.edge : timeline.now(); // from there, if nothing is chosen yet
    const after = all.findIndex(({ start }) => start > now);
    const first = (after < 0 ? all.length : after) + (by < 0 ? -1 : 0);
    this.#reveal(all[Math.max(0, Math.min(all.length - 1, here < 0 ? first : here + by))]);
  }

  /** To what is nearest in time in the next lane that has anything. */
  #stepLane(by) {
    const { selected, chronicle } = this.#timeline;
    if (!selected) {
      this.#step(-1);
      return;
    }
    const filled = LANES.filter(({ id }) => id === selected.lane || chronicle.items[id].length);
    const lane = filled[filled.findIndex(({ id }) => id === selected.lane) + by];
    if (!lane) return;
    const off = ({ start }) => Math.abs(start - selected.start);
    this.#reveal(chronicle.items[lane.id].reduce((best, item) => (off(item) < off(best) ? item : best)));
  }

  #reveal(item) {
    if (!item) return;
    const timeline = this.#timeline;
    const { edge, span } = timeline;
    timeline.lookTo(item.start < edge - span || item.start > edge ? item.start + span / 2 : edge);
    timeline.select(item);
  }
}
