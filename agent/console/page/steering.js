// Steering by hand: keys and a pad, told to the server ten times a second while something is held, and one zero after it.

import { settings } from "./settings.js";

const PACE = 100; // ms
const KEYS = { w: "forward", arrowup: "forward", s: "back", arrowdown: "back", a: "left", arrowleft: "left", d: "right", arrowright: "right" };
const OWN = "input, select, textarea, [role=application], dialog"; // they have a use of their own for such keys
const dialogs = () => document.querySelector("dialog[open]") !== null; // in front of all: there is no Stop to be seen
const place = (id) => document.getElementById(id);

export class Steering {
  ontold = () => {}; // (text): for people
  #link;
  #on = false;
  #speeds = [0, 0];
  #robot = "";
  #held = new Map(); // what holds it (a key, a pointer) -> direction
  #timer = 0;
  #switch = place("by-hand");
  #slider = place("hand-speed");

  constructor(link) {
    this.#link = link;
    this.#switch.addEventListener("click", () => this.#turn(!this.#on));
    this.#slider.addEventListener("input", () => this.#label());
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("keyup", (event) => this.#let(`key ${event.key.toLowerCase()}`));
    addEventListener("blur", () => this.release());
    addEventListener("pagehide", () => this.release());
    document.addEventListener("visibilitychange", () => document.hidden && this.release());
    for (const button of place("pad").querySelectorAll("button")) this.#button(button);
  }

  get moving() {
    return this.#held.size > 0;
  }

  /** Which robot is steered, and how fast it may be, m/s and rad/s; `able`: it can be steered now. */
  offer(robot, speeds, able) {
    if (robot !== this.#robot || !able) this.release();
    const changed = robot !== this.#robot || speeds.join() !== this.#speeds.join();
    this.#robot = robot;
    this.#speeds = speeds;
    if (changed) this.#label();
    this.#switch.disabled = !able;
    if (!able) this.#turn(false);
  }

  /** Let go of everything: what is held must be pressed anew. */
  release(why = "") {
    const moved = this.#held.size > 0;
    this.#held.clear();
    if (moved) this.#send();
    if (why) this.ontold(why);
  }

  #turn(on) {
    if (on === this.#on) return;
    this.#on = on;
    if (!on) this.release();
    this.#switch.setAttribute("aria-checked", String(on));
    place("hand").hidden = !on;
    this.ontold("");
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.key === "Escape") {
      this.release();
      return;
    }
    const key = event.key.toLowerCase();
    const direction = KEYS[key];
    if (!this.#on || !direction || event.target.closest?.(OWN) || dialogs()) return;
    if (key.length === 1 && !settings.keys) return;
    event.preventDefault();
    if (!event.repeat) this.#hold(`key ${key}`, direction);
  }

  #button(button) {
    const { direction } = button.dataset;
    const pointer = ({ pointerId }) => `pointer ${pointerId}`;
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.#hold(pointer(event), direction);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(end, (event) => this.#let(pointer(event)));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) this.#hold(`key ${event.key.toLowerCase()}`, direction);
    });
    button.addEventListener("blur", () => ["key  ", "key enter"].forEach((key) => this.#let(key)));
  }

  #hold(what, direction) {
    if (!this.#on || this.#switch.disabled) return;
    const began = this.#held.size === 0;
    this.#held.set(what, direction);
    this.ontold("");
    this.#send();
    if (began) this.#timer = setInterval(() => (dialogs() ? this.release() : this.#send()), PACE);
  }

  #let(what) {
    if (this.#held.delete(what)) this.#send();
  }

  #send() {
    if (!this.#held.size) clearInterval(this.#timer);
    const held = new Set(this.#held.values());
    for (const button of place("pad").querySelectorAll("button")) button.classList.toggle("held", held.has(button.dataset.direction));
    const share = Number(this.#slider.value) / 100;
    const along = Number(held.has("forward")) - Number(held.has("back"));
    const round = Number(held.has("left")) - Number(held.has("right"));
    const wish = { vx: along * share * this.#speeds[0], vy: 0, wz: round * share * this.#speeds[1] };
    const sent = this.#link.send({ type: "steer", ...wish, robot: this.#robot, time: performance.now() });
    if (!sent && this.#held.size) this.release("There is no connection.");
  }

  #label() {
    const share = Number(this.#slider.value) / 100;
    const text = `${this.#slider.value} %, ${(share * this.#speeds[0]).toFixed(2)} m/s`;
    place("hand-speed-told").textContent = text;
    this.#slider.setAttribute("aria-valuetext", text);
  }
}
