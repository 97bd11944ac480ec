// The loudspeaker: plays what the server sends, and reports what has really left it.

const TAIL_LATENCY = 2; // s: an output latency longer than this is not believed

export class Speaker {
  onplayed = () => {}; // (index, time in ms): the sample before `index` had left the loudspeaker at `time`
  onflushed = () => {}; // (id, index)
  figures = { underruns: 0, heldMs: 0, lost: 0, latencyMs: 0, state: "idle" };
  #context = null;
  #node = null;
  #reports = []; // {index, leaves}: rendered, on the way to the loudspeaker
  #told = -1;
  #sequence = null;

  get isOpen() {
    return this.#node !== null;
  }

  /** Must be called from a press of a button, or browsers play nothing. `rate`: of the sound that will come, Hz. */
  async open(rate) {
    if (this.#context?.sampleRate === rate) return this.#context.resume();
    this.close();
    let context;
    try {
      context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    } catch {
      context = new AudioContext({ latencyHint: "interactive" }); // the worklet resamples
    }
    this.#context = context;
    context.onstatechange = () => {
      if (context.state !== "running" && context === this.#context) context.resume(); // a telephone call, say, is over
    };
    const running = context.resume(); // now, while the press counts
    await context.audioWorklet.addModule(new URL("./playback-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
    node.port.onmessage = ({ data }) => this.#hear(data);
    node.connect(context.destination);
    this.#node = node;
    return running;
  }

  /** A frame of sound, as `wire.parse` gives it. */
  play({ rate, sequence, index, samples }) {
    if (!this.#node) return;
    if (this.#sequence !== null && sequence > this.#sequence + 1) this.figures.lost += sequence - this.#sequence - 1;
    this.#sequence = sequence;
    this.#node.port.postMessage({ play: { rate, index, samples } });
  }

  pause() {
    this.#node?.port.postMessage({ pause: true });
  }

  resume() {
    this.#node?.port.postMessage({ resume: true });
  }

  /** Answered by `onflushed`; by index 0 where nothing can have been heard, for there is no loudspeaker. */
  flush(id) {
    if (this.#node) this.#node.port.postMessage({ flush: id });
    else this.onflushed(id, 0);
  }

  /** Fall silent, and begin anew with what comes: the connection was lost, and with it what was to follow. */
  reset() {
    this.#node?.port.postMessage({ reset: true });
    this.#reports = [];
    this.#told = -1;
    this.#sequence = null;
  }

  close() {
    if (this.#node) this.#node.port.onmessage = null;
    this.#context?.close();
    this.#context = this.#node = this.#sequence = null;
    this.#reports = [];
    this.#told = -1;
  }

  #hear({ played, flushed, figures }) {
    if (!this.#context) return; // closed, with a message still on its way
    if (flushed) {
      this.onflushed(flushed.id, flushed.index);
      return;
    }
    const { underruns, held, state } = figures;
    Object.assign(this.figures, { underruns, state, heldMs: (held / this.#context.sampleRate) * 1000 });
    this.#reports.push({ index: played.index, leaves: this.#leaves(played.frame) });
    const now = performance.now();
    let due = null;
    while (this.#reports.length && this.#reports[0].leaves <= now) due = this.#reports.shift();
    if (due && due.index !== this.#told) {
      this.#told = due.index;
      this.onplayed(due.index, due.leaves);
    }
  }

  /** When (ms) frame `frame` of the context leaves the loudspeaker, as far as the browser knows. */
  #leaves(frame) {
    const context = this.#context;
    const time = frame / context.sampleRate;
    const stamp = context.getOutputTimestamp?.();
    const latency = (context.baseLatency ?? 0) + (context.outputLatency ?? 0);
    const plain = performance.now() + Math.max(0, time - context.currentTime + latency) * 1000;
    const told = stamp?.performanceTime > 0 ? stamp.performanceTime + (time - stamp.contextTime) * 1000 : NaN;
    const leaves = Math.abs(told - plain) < TAIL_LATENCY * 1000 ? told : plain;
    this.figures.latencyMs = Math.max(0, leaves - performance.now());
    return leaves;
  }
}
