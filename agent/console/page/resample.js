// From one sample rate to another, for browsers that do not open the microphone at the rate asked for.

const ZEROS = 16; // zero crossings of the kernel on each side

/** Windowed-sinc interpolation (Smith, "Digital Audio Resampling"); a whole stream, piece by piece. */
export class Resampler {
  #ratio;
  #cut;
  #reach;
  #held = new Float32Array(0);
  #at; // place in `held` of the next sample to make

  constructor(from, to) {
    this.#ratio = from / to;
    this.#cut = Math.min(1, to / from) * 0.95;
    this.#reach = Math.ceil(ZEROS / this.#cut);
    this.#held = new Float32Array(this.#reach);
    this.#at = this.#reach;
  }

  /** The samples that can be made now that `samples` have come; the last few wait for those after them. */
  push(samples) {
    const held = new Float32Array(this.#held.length + samples.length);
    held.set(this.#held);
    held.set(samples, this.#held.length);
    const made = [];
    while (this.#at + this.#reach < held.length) {
      made.push(this.#sample(held, this.#at));
      this.#at += this.#ratio;
    }
    const gone = Math.max(0, Math.floor(this.#at) - this.#reach);
    this.#held = held.slice(gone);
    this.#at -= gone;
    return Float32Array.from(made);
  }

  #sample(held, at) {
    const middle = Math.floor(at);
    let sum = 0;
    for (let place = middle - this.#reach + 1; place <= middle + this.#reach; place += 1) {
      const x = (place - at) * this.#cut;
      if (x <= -ZEROS || x >= ZEROS) continue;
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
      sum += held[place] * sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / ZEROS));
    }
    return sum * this.#cut;
  }
}
