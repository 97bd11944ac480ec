// Talking: takes microphone and camera from the browser and the floor from the server, and gives them back.

import { Camera } from "./camera.js";
import { Microphone, explain } from "./microphone.js";
import { Peer } from "./peer.js";
import { Speaker } from "./speaker.js";
import { VoiceOrder } from "./voice-order.js";
import { cameraFrame, microphoneFrame } from "./wire.js";

const ANSWER = 4000; // ms in which the server answers "take"

/**
 * `wants` holds what the person asked for, `has` what the server gave. After a lost connection what is wanted is
 * taken again. `onchange()` after every change; `ontrouble(text)` says what went wrong and what to do.
 */
export class Talker {
  wants = new Set();
  has = new Set();
  asking = false;
  refusal = "";
  onchange = () => {};
  ontrouble = () => {};
  microphone = new Microphone();
  speaker = new Speaker();
  camera;
  sent = 0; // blocks of the microphone
  peer;
  order = new VoiceOrder();
  #iceServers = null; // of a peer connection; null: the server wants none
  #link;
  #limits = { image_hz: 5, image_width: 640 };
  #timer = 0;

  constructor(link, video) {
    this.#link = link;
    this.camera = new Camera(video);
    this.microphone.onblock = (sequence, time, samples) => {
      const frame = microphoneFrame(sequence, time, samples);
      if (this.peer.send(frame).every((each) => link.sendFrame(each))) this.sent += 1;
    };
    this.peer = new Peer(link);
    this.peer.onframe = (frame) => this.hear(frame);
    this.peer.onchange = () => this.onchange();
    this.order.onframe = (frame) => this.speaker.play(frame);
    this.order.onmissing = (sequences) => link.send({ type: "missing", sequences });
    // A picture is lost with any of its thirty datagrams, so pictures stay on the WebSocket; where sound does not share
    // that, one waits at most, for reports and answers are behind it.
    this.camera.onpicture = (sequence, time, jpeg) => link.sendFrame(cameraFrame(sequence, time, jpeg), this.peer.isOpen ? 0 : 64 * 1024);
    this.microphone.onended = () => this.#lost("microphone");
    this.camera.onended = () => this.#lost("camera");
    this.speaker.onplayed = (index, time) => link.send({ type: "played", index, time });
    this.speaker.onflushed = (id, index) => link.send({ type: "flushed", id, index });
  }

  get talking() {
    return this.has.has("microphone");
  }

  get seeing() {
    return this.has.has("camera");
  }

  /** From a press of a button: the microphone, the loudspeaker at `rate`, and the camera too if `withCamera`. */
  async talk(rate, settings, withCamera) {
    if (this.asking) return;
    this.refusal = "";
    this.asking = true;
    this.onchange();
    try {
      await Promise.all([this.speaker.open(rate), this.microphone.open({ device: settings.microphone, processing: settings.processing })]);
      this.wants.add("microphone");
    } catch (error) {
      this.asking = false;
      this.microphone.close();
      this.speaker.close();
      this.#trouble(explain(error, "microphone"));
      return;
    }
    if (withCamera && !this.seeing) await this.#openCamera(settings);
    this.#take();
  }

  async see(settings) {
    if (await this.#openCamera(settings)) this.#take();
  }

  async #openCamera(settings) {
    try {
      await this.camera.open({ device: settings.camera });
      this.wants.add("camera");
      return true;
    } catch (error) {
      this.camera.close();
      this.#trouble(explain(error, "camera"));
      return false;
    }
  }

  /** Give back "microphone" or "camera". */
  release(medium) {
    if (this.has.has(medium)) this.#link.send({ type: "release", media: [medium] });
    this.#drop(medium);
  }

  mute(muted) {
    this.microphone.mute(muted);
  }

  /** A frame of sound, by whichever way it came. */
  hear(frame) {
    if (this.#iceServers === null) this.speaker.play(frame);
    else this.order.take(frame);
  }

  /** The connection stands (again): take what is wanted. */
  connected(limits, iceServers) {
    this.#limits = limits;
    this.#iceServers = iceServers;
    this.order.reset();
    if (this.wants.size) this.#take();
  }

  disconnected() {
    this.has.clear();
    this.peer.end();
    this.order.reset();
    this.microphone.hold();
    this.camera.hold();
    this.speaker.reset();
    this.#answered();
  }

  /** A message of the server about media or sound; false if it is about something else. */
  take(message) {
    switch (message.type) {
      case "taken":
        for (const medium of message.media) this.#taken(medium);
        break;
      case "refused":
        this.#drop(message.what);
        this.refusal = message.what === "microphone" ? message.reason : this.refusal;
        this.#trouble(`The ${message.what} was not taken: ${message.reason}.`);
        break;
      case "released":
        for (const medium of message.media) {
          if (this.has.has(medium) && message.reason) this.ontrouble(`The ${medium} was given back: ${message.reason}.`);
          this.#drop(medium);
        }
        break;
      case "pause": this.speaker.pause(); return true;
      case "resume": this.speaker.resume(); return true;
      case "flush":
        this.speaker.flush(message.id);
        this.order.skip(message.epoch, message.sequence); // what comes of it is played behind the flush
        return true;
      case "skip": this.order.skip(message.epoch, message.sequence); return true;
      case "sent": this.order.expect(message.sequence); return true;
      case "answer": this.peer.answer(message.sdp); return true;
      default: return false;
    }
    this.#answered();
    return true;
  }

  #take() {
    const media = [...this.wants].filter((medium) => !this.has.has(medium));
    if (!media.length || !this.#link.send({ type: "take", media })) return this.#answered();
    this.asking = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#answered();
      this.#trouble("The server did not answer. Try again.");
    }, ANSWER);
    return this.onchange();
  }

  #taken(medium) {
    if (!this.wants.has(medium)) return; // it was given back meanwhile
    this.has.add(medium);
    this.refusal = "";
    if (medium === "microphone") {
      this.microphone.begin();
      if (this.#iceServers !== null) this.peer.begin(this.#iceServers);
    } else this.camera.begin(this.#limits.image_hz, this.#limits.image_width);
  }

  #answered() {
    clearTimeout(this.#timer);
    this.asking = false;
    this.onchange();
  }

  #drop(medium) {
    this.wants.delete(medium);
    this.has.delete(medium);
    if (medium === "microphone") {
      this.peer.end();
      this.microphone.close();
      this.speaker.close();
    } else {
      this.camera.close();
    }
    this.onchange();
  }

  #lost(medium) {
    this.release(medium);
    this.#trouble(`The ${medium} went away. Plug it in again, or choose another in the settings, then try again.`);
  }

  #trouble(text) {
    this.ontrouble(text);
    this.onchange();
  }
}
