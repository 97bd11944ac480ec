// The agent's voice in its order. Frames come by two ways, either of which may overtake the other, and one of which
// loses some: a frame is given on when all before it have been, and what is missing is asked for again. So a sample is
// played after all those before it or not at all, and what is reported as played is what was.

const PATIENCE = 60; // ms for which a frame may be late before it is asked for
const AGAIN = 1000; // ms until it is asked for once more
const TICK = 20; // ms
const MOST = 512; // frames that are held
const ASKED = 128; // at once

export class VoiceOrder {
  onframe = () => {}; // frames as `wire.parse` gives them
  onmissing = () => {}; // numbers
  asked = 0;
  #epoch = 0;
  #next = 0; // number of the frame that is due
  #end = 0; // after the last frame that is known to have been sent
  #held = new Map(); // frames that wait for one before them
  #early = []; // frames of the next epoch: the flush that they follow has not come yet
  #missed = new Map(); // number -> ms at which it is asked for (again)
  #timer = 0;

  /** A new connection: it counts from 0. */
  reset() {
    this.#epoch = this.#next = this.#end = 0;
    this.#early = [];
    this.#forget();
  }

  take(frame) {
    const ahead = (frame.epoch - this.#epoch) & 255;
    if (ahead) {
      if (ahead < 128 && this.#early.length < MOST) this.#early.push(frame);
      return; // else it is void
    }
    if (frame.sequence < this.#next || frame.sequence >= this.#next + MOST) return;
    this.#held.set(frame.sequence, frame);
    this.#missed.delete(frame.sequence);
    this.#end = Math.max(this.#end, frame.sequence + 1);
    while (this.#held.has(this.#next)) {
      const next = this.#held.get(this.#next);
      this.#held.delete(this.#next);
      this.#next += 1;
      this.onframe(next);
    }
    this.#look();
  }

  /** All before `sequence` have been sent. */
  expect(sequence) {
    this.#end = Math.max(this.#end, Math.min(sequence, this.#next + MOST));
    this.#look();
  }

  /** What comes before `sequence` is void; what is played from now on is of `epoch`. */
  skip(epoch, sequence) {
    if (sequence === undefined) return;
    this.#epoch = epoch;
    this.#next = this.#end = sequence;
    this.#forget();
    const early = this.#early;
    this.#early = [];
    for (const frame of early) this.take(frame);
  }

  #forget() {
    this.#held.clear();
    this.#missed.clear();
    clearInterval(this.#timer);
    this.#timer = 0;
  }

  /** Ask for what has been missing for too long. */
  #look() {
    const now = performance.now();
    const due = [];
    for (let at = this.#next; at < this.#end; at += 1) {
      if (this.#held.has(at)) continue;
      const since = this.#missed.get(at) ?? now + PATIENCE;
      const ask = since <= now && due.length < ASKED;
      if (ask) due.push(at);
      this.#missed.set(at, ask ? now + AGAIN : since);
    }
    if (due.length) {
      this.asked += due.length;
      this.onmissing(due);
    }
    const waits = this.#next < this.#end;
    if (waits && !this.#timer) this.#timer = setInterval(() => this.#look(), TICK);
    else if (!waits && this.#timer) this.#forget();
  }
}
