// The camera: pictures as JPEG, at the rate and width that the server asks for.

const QUALITY = 0.8;
const LARGEST = 400_000; // bytes; the server takes no more

export class Camera {
  onpicture = () => {}; // (sequence, time in ms, JPEG as an ArrayBuffer)
  onended = () => {};
  #stream = null;
  #video;
  #canvas = document.createElement("canvas");
  #timer = 0;
  #sequence = 0;
  #busy = false;

  /** `video`: the element that shows one's own picture. */
  constructor(video) {
    this.#video = video;
  }

  get isOpen() {
    return this.#stream !== null;
  }

  async open({ device = "" } = {}) {
    if (this.#stream) return;
    if (!navigator.mediaDevices) throw new DOMException("not a secure page", "SecurityError");
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { deviceId: device ? { exact: device } : undefined, width: { ideal: 1280 }, height: { ideal: 720 } },
    });
    this.#stream = stream;
    this.#video.srcObject = stream;
    stream.getVideoTracks()[0].onended = () => {
      if (this.#stream !== stream) return;
      this.close();
      this.onended();
    };
    await this.#video.play();
  }

  /** Send pictures from now on: `hz` a second, `width` pixels wide at most. */
  begin(hz, width) {
    this.hold();
    this.#sequence = 0;
    this.#timer = setInterval(() => this.#take(width), 1000 / hz);
  }

  hold() {
    clearInterval(this.#timer);
  }

  close() {
    this.hold();
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }

  async #take(width) {
    const video = this.#video;
    if (this.#busy || !video.videoWidth) return;
    this.#busy = true;
    const time = performance.now();
    this.#canvas.width = Math.min(width, video.videoWidth);
    this.#canvas.height = Math.round((this.#canvas.width * video.videoHeight) / video.videoWidth);
    this.#canvas.getContext("2d").drawImage(video, 0, 0, this.#canvas.width, this.#canvas.height);
    const blob = await new Promise((done) => this.#canvas.toBlob(done, "image/jpeg", QUALITY));
    if (blob && blob.size <= LARGEST && this.#stream) {
      this.onpicture(this.#sequence, time, await blob.arrayBuffer());
      this.#sequence += 1;
    }
    this.#busy = false;
  }
}
