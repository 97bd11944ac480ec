// The timeline as a canvas: lanes under each other, time to the right, at most 30 pictures a second and none unseen.

import { LANES, search } from "./chronicle.js";
import { clock } from "./telling.js";

const FRAME = 1000 / 30; // ms
const AXIS = 22; // px
const SPANS = [5, 10, 20, 40, 60, 120, 300, 600]; // s across
const TONES = ["person", "agent", "held", "faint", "good", "alarm", "ink", "muted", "line", "surface", "lane"];
const MARK = 7; // px: width of what lasts no time
const MOST = 4000; // items drawn in one picture

export class Timeline {
  onselect = () => {}; // (item or null)
  paused = false;
  selected = null;
  onpause = () => {};
  chronicle = null;
  now = () => 0; // session time (s) at the right edge, or at the head where the session is over
  recorded = false;
  #canvas;
  #pen;
  #colours = {};
  #span = 2;
  #right = 0; // session time at the right edge while paused
  #drawn = []; // {x, y, width, height, item} of the last picture
  #seen = true;
  #stale = true;
  #last = 0;
  #size = { width: 0, height: 0, lane: 24 };
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    new ResizeObserver(() => this.#resize()).observe(canvas.parentElement);
    new IntersectionObserver(([entry]) => {
      this.#seen = entry.isIntersecting;
    }).observe(canvas);
    this.recolour();
  }

  /** Seconds across. */
  get span() {
    return SPANS[this.#span];
  }

  zoom(step) {
    this.#span = Math.max(0, Math.min(SPANS.length - 1, this.#span + step));
    this.redraw();
  }

  pause(paused) {
    if (this.paused === paused) return;
    if (paused) this.#right = this.edge;
    this.paused = paused;
    this.onpause(paused);
    this.redraw();
  }

  select(item) {
    this.selected = item;
    this.onselect(item);
    this.redraw();
  }

  /** Read the colours again: the theme changed. */
  recolour() {
    const probe = document.createElement("span");
    this.#canvas.parentElement.append(probe);
    for (const tone of TONES) {
      probe.className = `tone-${tone}`;
      this.#colours[tone] = getComputedStyle(probe).color;
    }
    probe.remove();
    this.redraw();
  }

  /** Hold the picture with session time `right` at its right edge. */
  lookTo(right) {
    this.pause(true);
    this.#right = right;
    this.redraw();
  }

  /** What was drawn at (x, y), or null. */
  itemAt(x, y) {
    const reach = 3; // px beside it that count too
    const hit = (each) =>
      x >= each.x - reach && x <= each.x + each.width + reach && y >= each.y - reach && y <= each.y + each.height + reach;
    return this.#drawn.findLast(hit)?.item ?? null;
  }

  /** Session time at `x`. */
  timeAt(x) {
    return this.edge - this.span * (1 - x / this.#size.width);
  }

  /** Draw at the next tick, even where nothing moves. */
  redraw() {
    this.#stale = true;
  }

  /** To be called for every picture of the page, with its time (ms); draws if there is something new to be seen. */
  tick(time) {
    if (!this.#seen || !this.chronicle) return;
    // Not before it has moved by a pixel; where motion is not wanted, twice a second.
    const pace = this.#still.matches ? 500 : Math.min(500, Math.max(FRAME, (1000 * this.span) / this.#size.width));
    if (!this.#stale && (this.paused || time - this.#last < pace)) return;
    this.#stale = false;
    this.#last = time;
    this.#draw();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.#canvas.parentElement;
    if (!width || !height) return;
    const scale = Math.min(2, devicePixelRatio || 1);
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    this.#pen.setTransform(scale, 0, 0, scale, 0, 0);
    this.#pen.font = "11px system-ui, sans-serif"; // here, for it makes the browser look at its styles again
    this.#pen.textBaseline = "middle";
    this.#size = { width, height, lane: (height - AXIS) / LANES.length };
    this.redraw();
  }

  /** Session time at the right edge. A recording has its head at two thirds. */
  get edge() {
    if (this.paused) return this.#right;
    return this.recorded ? this.now() + this.span / 3 : this.now();
  }

  #draw() {
    const { width, height, lane } = this.#size;
    const pen = this.#pen;
    if (!this.chronicle || !width) return;
    const right = this.edge;
    const left = right - this.span;
    const scale = width / this.span;
    const x = (t) => (t - left) * scale;
    const now = this.now();
    pen.clearRect(0, 0, width, height);
    for (let at = 0; at < LANES.length; at += 2) {
      pen.fillStyle = this.#colours.lane;
      pen.fillRect(0, at * lane, width, lane);
    }
    this.#axis(left, right, x);
    this.#drawn = [];
    const { curves, items } = this.chronicle;
    this.#curve(curves.voice, left, right, x, 0, this.#colours.person, true);
    this.#curve(curves.echo, left, right, x, 0, this.#colours.agent, false);
    this.#curve(curves.ending, left, right, x, 1, this.#colours.muted, false);
    LANES.forEach(({ id }, place) => this.#items(items[id], left, right, x, place, now));
    if (this.recorded || this.paused) {
      pen.fillStyle = this.#colours.ink;
      pen.fillRect(Math.round(x(now)), 0, 1.5, height - AXIS + 4);
    }
    const selected = this.#drawn.find(({ item }) => item === this.selected);
    if (selected) {
      pen.strokeStyle = this.#colours.ink;
      pen.lineWidth = 2;
      pen.strokeRect(selected.x - 2, selected.y - 1, selected.width + 4, selected.height + 2);
    }
  }

  #axis(left, right, x) {
    const { height } = this.#size;
    const pen = this.#pen;
    const step = [1, 2, 5, 10, 15, 30, 60, 120].find((each) => (x(each) - x(0)) >= 70) ?? 120;
    for (let t = Math.max(0, Math.ceil(left / step) * step); t <= right; t += step) {
      pen.fillStyle = this.#colours.line;
      pen.fillRect(Math.round(x(t)), 0, 1, height - AXIS);
      pen.fillStyle = this.#colours.muted;
      pen.fillText(clock(t, 0), Math.round(x(t)) + 4, height - AXIS / 2);
    }
  }

  #curve(curve, left, right, x, place, colour, filled) {
    const from = Math.max(0, search(curve, left) - 2);
    if (from >= curve.length) return;
    const pen = this.#pen;
    const { lane } = this.#size;
    const floor = (place + 1) * lane - 2;
    const tall = lane - 5;
    const skip = Math.max(1, Math.floor((search(curve, right) - from) / 2 / (this.#size.width / 1.5))) * 2;
    pen.beginPath();
    let first = null;
    let end = 0;
    let before = null;
    for (let at = from; at < curve.length && curve[at] <= right + 1; at += skip) {
      let value = curve[at + 1];
      for (let near = at + 2; near < at + skip && near < curve.length; near += 2) value = Math.max(value, curve[near + 1]);
      const gap = before !== null && curve[at] - before > 1;
      before = curve[at];
      end = x(curve[at]);
      if (first === null || (gap && !filled)) pen.moveTo(end, floor - value * tall);
      else pen.lineTo(end, floor - value * tall);
      first ??= end;
    }
    if (filled) {
      pen.lineTo(end, floor);
      pen.lineTo(first, floor);
      pen.globalAlpha = 0.45;
      pen.fillStyle = colour;
      pen.fill();
      pen.globalAlpha = 1;
    } else {
      pen.strokeStyle = colour;
      pen.lineWidth = 1.25;
      pen.stroke();
    }
  }

  #items(items, left, right, x, place, now) {
    const { lane } = this.#size;
    const y = place * lane + 3;
    const tall = lane - 6;
    let drawn = 0;
    let free = -Infinity; // x at which the last label ended: marks write theirs only where there is room
    const visible = [];
    for (let at = items.length - 1; at >= 0 && drawn < MOST; at -= 1) {
      const item = items[at];
      if (item.start > right) continue;
      const end = item.end ?? Math.max(now, item.start);
      if (end < left) {
        if (item.start < left - 120) break; // items come in order of publication; none lasts much longer unseen
        continue;
      }
      visible.push(item);
      drawn += 1;
    }
    visible.reverse().forEach((item, at) => {
      const from = Math.max(-4, x(item.start));
      const width = Math.max(2, x(item.end ?? Math.max(now, item.start)) - from);
      const next = at + 1 < visible.length ? x(visible[at + 1].start) : this.#size.width;
      if (item.end === item.start) free = this.#mark(item, from, y, tall, free, next);
      else free = this.#bar(item, from, width, y, tall, x, next);
    });
  }

  #mark(item, x, y, tall, free, next) {
    const pen = this.#pen;
    const dot = item.lane === "end";
    pen.fillStyle = this.#colours[item.tone];
    pen.beginPath();
    if (dot) pen.arc(x, y + tall * (1 - Number(item.label)), 2.5, 0, 7);
    else pen.roundRect(x - MARK / 2, y + tall / 2 - MARK / 2, MARK, MARK, 2);
    pen.fill();
    this.#drawn.push({ x: x - MARK, y, width: MARK * 2, height: tall, item });
    if (dot || x < free) return free;
    return x + MARK + this.#write(item, x + MARK, y + tall / 2 + 0.5, next - x - MARK * 2.5, this.#colours.ink) + 8;
  }

  #bar(item, x, width, y, tall, place, next) {
    const pen = this.#pen;
    const solid = item.tone !== "held" && item.tone !== "faint";
    const colour = this.#colours[item.tone];
    pen.fillStyle = colour;
    pen.globalAlpha = solid ? 1 : 0.25;
    pen.beginPath();
    pen.roundRect(x, y, width, tall, 3);
    pen.fill();
    pen.globalAlpha = 1;
    if (!solid) {
      pen.strokeStyle = colour;
      pen.lineWidth = 1;
      pen.setLineDash(item.tone === "held" ? [3, 2] : []);
      pen.stroke();
      pen.setLineDash([]);
    }
    if (item.notch !== undefined) {
      pen.fillStyle = this.#colours.ink;
      pen.fillRect(place(item.notch) - 1.5, y - 2, 3, tall + 4);
    }
    if (item.cut) {
      pen.fillStyle = this.#colours.alarm;
      pen.fillRect(x + width - 3, y - 2, 3, tall + 4);
    }
    this.#drawn.push({ x, y, width, height: tall, item });
    const start = Math.max(x, 0) + 5;
    const inside = x + width - start - 4;
    const beside = next - x - width - 10; // up to what comes next in the lane
    const middle = y + tall / 2 + 0.5;
    if (inside < this.#width(item) && beside > inside) this.#write(item, x + width + 5, middle, beside, this.#colours.ink);
    else this.#write(item, start, middle, inside, solid ? this.#colours.surface : this.#colours.ink);
    return x + width;
  }

  /** As much of the label as there is room for; returns its width. */
  #write(item, x, y, room, colour) {
    if (!item.label || room < 9) return 0;
    this.#width(item);
    let text = item.label;
    if (item.width > room) {
      const letters = Math.floor((text.length * room) / item.width) - 1;
      if (letters < 1) return 0;
      text = `${text.slice(0, letters)}…`;
    }
    this.#pen.fillStyle = colour;
    this.#pen.fillText(text, x, y);
    return Math.min(item.width, room);
  }

  #width(item) {
    item.width ??= this.#pen.measureText(item.label).width;
    return item.width;
  }
}
