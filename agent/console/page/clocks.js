// Two clocks that the page keeps beside its own: the session's, and that of the microphone's samples.

/** Session time (s), from what the server says it is; the exchange that took least time is believed. */
export class SessionClock {
  #offset = null; // seconds of session time minus seconds of performance.now()
  #best = Infinity; // round trip (ms) of the exchange it came from
  #until = 0;

  /** A new session began: what was known is of another clock. */
  reset() {
    this.#offset = null;
    this.#best = Infinity;
  }

  /** The server said `now`; it was asked at `asked` (ms), or spoke unasked (null). */
  hear(now, asked = null) {
    const here = performance.now();
    const trip = asked === null ? 1000 : here - asked;
    if (this.#offset !== null && trip > this.#best && here < this.#until) return;
    this.#offset = now + (asked === null ? 0 : trip / 2000) - here / 1000;
    this.#best = trip;
    this.#until = here + 60000; // then an older exchange says less about the drift than a newer one
  }

  now() {
    return this.#offset === null ? 0 : performance.now() / 1000 + this.#offset;
  }
}

/**
 * When a sample was captured (ms of performance.now()), from how many came before it and when blocks arrive.
 * The earliest arrival of the last 5 to 10 seconds is the one that waited least for the threads between.
 */
export class SampleClock {
  #rate;
  #current = Infinity;
  #previous = Infinity;
  #turn = 0;

  constructor(rate) {
    this.#rate = rate;
  }

  /** `count` samples have been captured, which was heard of just now: the time of the last one's end. */
  time(count) {
    const arrival = performance.now();
    const span = (count / this.#rate) * 1000;
    if (arrival > this.#turn) {
      this.#previous = this.#current;
      this.#current = Infinity;
      this.#turn = arrival + 5000;
    }
    this.#current = Math.min(this.#current, arrival - span);
    return span + Math.min(this.#current, this.#previous);
  }
}
