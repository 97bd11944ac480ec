// The microphone: blocks of 20 ms with their number and the time of their end.

import { SampleClock } from "./clocks.js";

const RATE = 16000;

export class Microphone {
  onblock = () => {}; // (sequence, time in ms, int16 samples)
  onended = () => {}; // the device went away
  level = 0; // of the last block, 0 to 1
  #stream = null;
  #context = null;
  #sequence = null; // null until `begin`
  #clock = null;
  #muted = false;

  get isOpen() {
    return this.#stream !== null;
  }

  /**
   * Ask for the microphone. `device`: its id, "" for the browser's choice; `processing`: let the browser take out echo
   * and noise and level the voice. Rejects with what getUserMedia says (see `explain`).
   */
  async open({ device = "", processing = true } = {}) {
    if (this.#stream) return;
    if (!navigator.mediaDevices) throw new DOMException("not a secure page", "SecurityError");
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: device ? { exact: device } : undefined,
        echoCancellation: processing,
        noiseSuppression: processing,
        autoGainControl: processing,
        channelCount: 1,
      },
    });
    try {
      await this.#connect(stream);
    } catch (error) {
      stream.getTracks().forEach((track) => track.stop());
      throw error;
    }
    const [track] = stream.getAudioTracks();
    track.onended = () => {
      if (this.#stream !== stream) return;
      this.close();
      this.onended();
    };
    this.#stream = stream;
    this.mute(this.#muted);
  }

  async #connect(stream) {
    let context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    let source;
    try {
      source = context.createMediaStreamSource(stream);
    } catch {
      await context.close(); // this browser opens it at the device's own rate only: the worklet resamples
      context = new AudioContext({ latencyHint: "interactive" });
      source = context.createMediaStreamSource(stream);
    }
    await context.audioWorklet.addModule(new URL("./capture-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCountMode: "max" });
    this.#clock = new SampleClock(RATE);
    node.port.onmessage = ({ data }) => this.#took(data);
    source.connect(node);
    await context.resume();
    this.#context = context;
  }

  /** Count blocks from 0, from the next one on. */
  begin() {
    this.#sequence = 0;
  }

  /** Send nothing, and keep the microphone open. */
  hold() {
    this.#sequence = null;
  }

  /** Muted, silence is sent: the clock of the samples goes on. */
  mute(muted) {
    this.#muted = muted;
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#context?.close();
    this.#stream = this.#context = this.#sequence = null;
    this.level = 0;
  }

  #took({ samples, count }) {
    const time = this.#clock.time(count);
    let peak = 0;
    for (let at = 0; at < samples.length; at += 4) peak = Math.max(peak, Math.abs(samples[at]));
    this.level = peak / 32768;
    if (this.#sequence === null) return;
    this.onblock(this.#sequence, time, samples);
    this.#sequence += 1;
  }
}

/** In words, why a microphone or camera (`what`) could not be had, and what to do. */
export function explain(error, what) {
  switch (error.name) {
    case "NotAllowedError":
      return `The browser was told not to lend the ${what} to this page. Allow it at the lock or ${what} sign beside the address, then try again.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No such ${what} was found. Plug one in, or choose another in the settings.`;
    case "NotReadableError":
      return `The ${what} is there but does not start: another program may be using it. Close that, then try again.`;
    case "SecurityError":
      return `Browsers lend the ${what} only to pages opened by https or at localhost. Open the printed address on the same machine, or start the server with TLS.`;
    default:
      return `The ${what} could not be opened: ${error.message || error.name}.`;
  }
}
