// A recorded session, looked at: its sound leads, and captions, timeline and picture follow it.

import { Chronicle } from "./chronicle.js";
import { Robots } from "./robots.js";
import { Story } from "./story.js";
import { clock } from "./telling.js";

const PICTURES = 200; // ms between two
const MEDIA = new Set(["audio", "playback", "clean"]);
const place = (id) => document.getElementById(id);

export class Review {
  name = null; // of the recording that is open
  story = new Story();
  robots = new Robots();
  chronicle = null;
  onopened = () => {};
  onclosed = () => {};
  onpicture = () => {}; // (Blob or null)
  #link;
  #sound = place("review-sound");
  #slider = place("review-place");
  #events = [];
  #told = 0; // events that the story has been given
  #at = 0;
  #faces = [];
  #images = []; // s: when there were pictures
  #shown = -1; // s: of the picture shown
  #asked = 0;
  #length = 0;

  constructor(link) {
    this.#link = link;
    place("review-close").addEventListener("click", () => this.close());
    place("review-play").addEventListener("click", () => this.toggle());
    place("review-speed").addEventListener("change", (event) => (this.#sound.playbackRate = Number(event.target.value)));
    this.#slider.addEventListener("input", () => this.seek(Number(this.#slider.value)));
    this.#slider.addEventListener("keydown", (event) => this.#key(event));
    for (const name of ["play", "pause", "ended"]) this.#sound.addEventListener(name, () => this.#playing());
    this.#sound.addEventListener("loadedmetadata", () => this.#measure(this.#sound.duration));
  }

  get time() {
    return this.#at;
  }

  /** Read recording `name`. Rejects with an `Error` that says what was wrong. */
  async open(name) {
    const path = `api/recordings/${encodeURIComponent(name)}`;
    const answer = await fetch(this.#link.address(`${path}/events`));
    if (!answer.ok) throw new Error(`${name} could not be read: ${(await answer.text()) || answer.statusText}`);
    const chronicle = new Chronicle({ bounded: false });
    const events = [];
    const images = [];
    for await (const line of lines(answer.body)) {
      const event = JSON.parse(line);
      if (event.topic === "image") images.push(event.t);
      if (MEDIA.has(event.topic) || event.topic === "image") continue;
      chronicle.take(event);
      if (event.type !== "Voice") events.push(event);
    }
    this.name = name;
    this.chronicle = chronicle;
    this.#events = events;
    this.#faces = events.filter(({ type }) => type === "Faces");
    this.#images = images;
    this.#shown = -1;
    this.story.clear();
    this.robots.clear();
    this.#told = 0;
    this.#measure(chronicle.last);
    this.#sound.src = this.#link.address(`${path}/sound.wav`);
    place("review-name").textContent = name;
    place("review").hidden = false;
    this.seek(0);
    this.onopened();
  }

  focus() {
    this.#slider.focus();
  }

  close() {
    if (this.name === null) return;
    this.#sound.pause();
    this.#sound.removeAttribute("src");
    this.#sound.load();
    this.name = this.chronicle = null;
    this.#events = this.#faces = this.#images = [];
    this.story.clear();
    this.robots.clear();
    place("review").hidden = true;
    this.onclosed();
  }

  toggle() {
    if (this.#sound.paused) this.#sound.play().catch(() => {}); // refused or cut short: the button still says "Play"
    else this.#sound.pause();
  }

  seek(t) {
    const to = Math.max(0, Math.min(this.#length, t));
    this.#sound.currentTime = to;
    this.#go(to);
  }

  /** To be called for every picture of the page: what was known by the time of the sound is what is shown. */
  tick() {
    if (this.name !== null && !this.#sound.paused) this.#go(this.#sound.currentTime);
  }

  get faces() {
    let found = null;
    for (const event of this.#faces) {
      if (event.at > this.#at) break;
      found = event;
    }
    return found;
  }

  #go(t) {
    if (t < this.#at) {
      this.story.clear();
      this.robots.clear();
      this.#told = 0;
    }
    this.#at = t;
    while (this.#told < this.#events.length && this.#events[this.#told].at <= t) {
      this.story.take(this.#events[this.#told]);
      this.robots.take(this.#events[this.#told]);
      this.#told += 1;
    }
    this.#slider.value = t;
    this.#label(t);
    this.#picture(t);
  }

  #label(t) {
    const text = `${clock(t)} of ${clock(this.#length)}`;
    this.#slider.setAttribute("aria-valuetext", text);
    place("review-time").textContent = text.replace(" of ", " / ");
  }

  async #picture(t) {
    let newest = -1;
    for (const each of this.#images) if (each <= t) newest = Math.max(newest, each);
    const now = performance.now();
    if (newest === this.#shown || now - this.#asked < PICTURES) return;
    this.#asked = now;
    this.#shown = newest;
    if (newest < 0) return this.onpicture(null);
    const { name } = this;
    const answer = await fetch(this.#link.address(`api/recordings/${encodeURIComponent(name)}/image`, { t: newest + 0.0005 }));
    if (answer.ok && name === this.name) this.onpicture(await answer.blob());
  }

  #measure(length) {
    if (!Number.isFinite(length)) return;
    this.#length = Math.max(this.chronicle?.last ?? 0, length);
    this.#slider.max = this.#length;
    this.#label(this.#at);
  }

  #playing() {
    const { paused } = this.#sound;
    place("review-sign").setAttribute("href", `page/icons.svg#${paused ? "play" : "pause"}`);
    place("review-play-text").textContent = paused ? "Play" : "Pause";
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
    if (event.key === " ") this.toggle();
    else if (step) this.seek(this.#at + step);
    else return;
    event.preventDefault();
  }
}

/** The lines of a stream of UTF-8, as they come. */
async function* lines(stream) {
  let rest = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    const whole = (rest + (value ?? "")).split("\n");
    rest = done ? "" : whole.pop();
    for (const line of whole) if (line.trim()) yield line;
    if (done) return;
  }
}
