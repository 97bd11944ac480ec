// Plays what the server sends and knows, to the sample, what has been played.
//
// In: {play: {index, rate, samples}}, {pause}, {resume}, {flush: id}, {reset}: what comes next has nothing to do with this
// Out: {played: {index, frame}, figures}: the sample before `index` is the last that was rendered by frame `frame` of this
//      context; about every 20 ms while something plays and a little longer. {flushed: {id, index}}: the answer to a flush.
//
// Pausing and going on neither drop nor repeat a sample: what prevents the click is added beside them, a decay from the
// last sample played and a rise to the next one.

const JITTER = 0.06; // s that are gathered before playing begins, after silence or an underrun
const FADE = 0.005; // s, of a flush
const RAMP = 0.002; // s, of a pause and of going on
const REPORT = 0.02; // s
const TAIL = 0.6; // s for which reports go on after the last sample: longer than it takes to leave the loudspeaker
const GAP = 0.25; // s: sound that goes on where it ran out, and comes within this, was late

const frames = (seconds) => Math.round(seconds * sampleRate);
const NOTHING = new Float32Array(0);

class Playback extends AudioWorkletProcessor {
  #queue = []; // pieces {index, rate, samples}
  #place = 0; // in the first piece: of the next sample (a fraction where the rates differ)
  #end = 0; // index after the last sample played
  #fresh = true; // nothing has come yet, so there is nothing to tell
  #state = "idle"; // "idle", "gathering", "rising", "playing"
  #paused = false;
  #since = 0; // frame at which the state began
  #rise = 0; // frames left of the rise to the next sample
  #decay = 0; // frames left of the decay from the last one
  #last = 0; // last sample put out
  #fade = NOTHING; // the faded end of what was flushed: goes first, and no pause holds it
  #faded = 0; // place in it
  #fadeFrom = 0; // index of the first sample it was made of
  #fadeEnd = 0; // and after the last
  #ran = -Infinity; // frame at which the sound ran out
  #due = 0; // frame of the next report
  #underruns = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data.play) this.#play(data.play);
      else if (data.pause) this.#pause();
      else if (data.resume) this.#paused = false;
      else if (data.reset) this.#reset();
      else if (data.flush !== undefined) this.port.postMessage({ flushed: { id: data.flush, index: this.#flush() } });
    };
  }

  #play(piece) {
    if (!piece.samples.length) return;
    if (this.#fresh) this.#end = piece.index;
    this.#fresh = false;
    if (this.#state === "idle") {
      if (piece.index === this.#end && currentFrame - this.#ran < frames(GAP)) this.#underruns += 1;
      this.#become("gathering");
    }
    this.#queue.push(piece);
  }

  #pause() {
    if (this.#paused) return;
    this.#paused = true;
    if (this.#state === "playing") this.#decay = frames(RAMP);
    if (this.#state === "playing" || this.#state === "rising") this.#become("rising");
    this.#rise = frames(RAMP);
  }

  /** Drop what is queued, but for the 5 ms that fade; tells the index after the last sample that will have been heard. */
  #flush() {
    if (this.#faded < this.#fade.length) {
      this.#queue = [];
    } else if (this.#state === "playing" && !this.#paused) {
      const fade = new Float32Array(frames(FADE));
      this.#fadeFrom = this.#end;
      let made = 0;
      while (made < fade.length && this.#queue.length) {
        fade[made] = this.#next() * (1 - (made + 1) / (fade.length + 1));
        made += 1;
      }
      this.#fadeEnd = this.#end;
      this.#fade = fade.subarray(0, made);
      this.#faded = 0;
      this.#queue = [];
    } else {
      this.#queue = [];
      this.#fadeEnd = this.#end;
    }
    this.#place = 0;
    this.#ran = -Infinity;
    this.#become("idle");
    return this.#fadeEnd;
  }

  #reset() {
    this.#flush();
    this.#paused = false;
    this.#fresh = true;
  }

  process(_, [[out]]) {
    for (let at = 0; at < out.length; at += 1) out[at] = this.#sample();
    this.#report(out.length);
    return true;
  }

  #sample() {
    if (this.#faded < this.#fade.length) return this.#fade[this.#faded++];
    if (this.#paused || this.#state === "idle") return this.#silence();
    if (this.#state === "gathering") {
      if (!this.#gathered()) return this.#silence();
      this.#become("rising");
      this.#rise = frames(RAMP);
    }
    if (this.#state === "rising") {
      if (this.#rise > 0) {
        const share = 1 - this.#rise / (frames(RAMP) + 1);
        this.#rise -= 1;
        return this.#silence() + (this.#queue[0].samples[Math.floor(this.#place)] / 32768) * share * share;
      }
      this.#become("playing");
    }
    this.#last = this.#next();
    if (!this.#queue.length) {
      this.#ran = currentFrame;
      this.#decay = frames(RAMP);
      this.#become("idle");
    }
    return this.#last;
  }

  #gathered() {
    let held = 0;
    for (const { samples, rate } of this.#queue) held += samples.length / rate;
    return held >= JITTER || currentFrame - this.#since >= frames(JITTER);
  }

  /** The next sample of the queue, linear between two where the rates differ. */
  #next() {
    const piece = this.#queue[0];
    const whole = Math.floor(this.#place);
    const part = this.#place - whole;
    let sample = piece.samples[whole];
    if (part > 1e-9) {
      const after = whole + 1 < piece.samples.length ? piece.samples[whole + 1] : (this.#queue[1]?.samples[0] ?? 0);
      sample += (after - sample) * part;
    }
    this.#place += piece.rate / sampleRate;
    this.#end = piece.index + Math.min(piece.samples.length, Math.floor(this.#place + 1e-9));
    while (this.#queue.length && this.#place + 1e-9 >= this.#queue[0].samples.length) {
      this.#place -= this.#queue[0].samples.length;
      this.#queue.shift();
    }
    if (!this.#queue.length) this.#place = 0;
    return sample / 32768;
  }

  /** Nothing plays: a short decay from the last sample, then silence. */
  #silence() {
    if (this.#decay <= 0) return 0;
    const share = this.#decay / (frames(RAMP) + 1);
    this.#decay -= 1;
    return this.#last * share * share;
  }

  #become(state) {
    this.#state = state;
    this.#since = currentFrame;
  }

  #report(length) {
    const frame = currentFrame + length;
    const busy = this.#queue.length > 0 || this.#faded < this.#fade.length;
    if (this.#fresh || frame < this.#due || (!busy && frame - this.#since > frames(TAIL))) return;
    this.#due = frame + frames(REPORT);
    let held = -this.#place;
    for (const { samples } of this.#queue) held += samples.length;
    // A fade was taken off the queue when it was made; it counts as played when it has been.
    const fading = this.#faded < this.#fade.length;
    const share = this.#faded / this.#fade.length;
    const index = fading ? this.#fadeFrom + Math.floor((this.#fadeEnd - this.#fadeFrom) * share) : this.#end;
    this.port.postMessage({
      played: { index, frame },
      figures: { underruns: this.#underruns, held: Math.max(0, held), state: this.#paused ? "paused" : this.#state },
    });
  }
}

registerProcessor("playback", Playback);
