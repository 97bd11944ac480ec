// The microphone as blocks of 20 ms, int16 mono, 16 kHz. Each is posted with how many samples there were by its end.

import { Resampler } from "./resample.js";

const RATE = 16000;
const BLOCK = 320;

class Capture extends AudioWorkletProcessor {
  #block = new Int16Array(BLOCK);
  #filled = 0;
  #count = 0;
  #resampler = sampleRate === RATE ? null : new Resampler(sampleRate, RATE);

  process([channels]) {
    if (!channels.length) return true; // nothing is connected: no samples, and no made-up silence
    let mono = channels[0];
    if (channels.length > 1) mono = mono.map((_, at) => channels.reduce((sum, each) => sum + each[at], 0) / channels.length);
    if (this.#resampler) mono = this.#resampler.push(mono);
    for (const sample of mono) {
      this.#block[this.#filled] = Math.round(Math.max(-1, Math.min(32767 / 32768, sample)) * 32768);
      this.#filled += 1;
      if (this.#filled === BLOCK) this.#send();
    }
    return true;
  }

  #send() {
    this.#count += BLOCK;
    this.port.postMessage({ samples: this.#block, count: this.#count }, [this.#block.buffer]);
    this.#block = new Int16Array(BLOCK);
    this.#filled = 0;
  }
}

registerProcessor("capture", Capture);
