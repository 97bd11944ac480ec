// What the camera sees, with a box round every face, and the same in words.

import { faces as inWords } from "./telling.js";

const NONE = [];
const FRESH = 1.5; // s for which boxes are believed

export class Picture {
  #frame;
  #video;
  #still;
  #boxes;
  #words;
  #own = false;
  #bitmap = 0;
  #told = "";
  #size = { width: 0, height: 0 };
  #list = NONE;
  #drawn = "";

  /** `frame` holds `video` (one's own camera), `still` (a canvas, everybody else's) and `boxes` (a canvas over both). */
  constructor({ frame, video, still, boxes, words }) {
    this.#frame = frame;
    this.#video = video;
    this.#still = still;
    this.#boxes = boxes;
    this.#words = words;
    new ResizeObserver(([{ contentRect }]) => {
      this.#size = contentRect;
      this.#draw(this.#list);
    }).observe(frame);
    video.addEventListener("resize", () => this.#ratio(video.videoWidth, video.videoHeight));
  }

  /** Show one's own camera (as in a mirror), or what comes from the server. */
  own(own) {
    this.#own = own;
    this.#frame.classList.toggle("own", own);
    this.#video.hidden = !own;
    this.#still.hidden = own;
    if (own) this.#frame.classList.remove("empty");
    else this.clear();
  }

  clear() {
    this.#frame.classList.add("empty");
    this.#still.getContext("2d").clearRect(0, 0, this.#still.width, this.#still.height);
    this.faces(null, 0);
  }

  /** A picture (a Blob) from the server. Of several on their way, the newest is shown. */
  async show(jpeg) {
    if (this.#own) return;
    this.#bitmap += 1;
    const number = this.#bitmap;
    let bitmap;
    try {
      bitmap = await createImageBitmap(jpeg);
    } catch {
      return; // not a picture; the next one may be
    }
    if (number === this.#bitmap && !this.#own) {
      this.#frame.classList.remove("empty");
      this.#ratio(bitmap.width, bitmap.height);
      if (this.#still.width !== bitmap.width) this.#still.width = bitmap.width;
      if (this.#still.height !== bitmap.height) this.#still.height = bitmap.height;
      this.#still.getContext("2d").drawImage(bitmap, 0, 0);
    }
    bitmap.close();
  }

  /** The newest `Faces`, or null; `now`: session time (s). */
  faces(event, now) {
    const list = event && now - event.t < FRESH ? event.faces : null;
    const words = list ? inWords(list) : event ? "No picture just now." : "The agent sees nothing: no camera is on.";
    if (words !== this.#told) {
      this.#told = words;
      this.#words.textContent = words;
    }
    this.#draw(list ?? NONE);
  }

  #draw(list) {
    const { width, height } = this.#size;
    const key = `${width} ${height} ${this.#own}`;
    if (list === this.#list && key === this.#drawn) return;
    this.#list = list;
    this.#drawn = key;
    const canvas = this.#boxes;
    const scale = Math.min(2, devicePixelRatio || 1);
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "600 12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (const face of list) {
      const wide = face.width * width;
      const x = this.#own ? width - face.left * width - wide : face.left * width;
      const y = face.top * height;
      for (const [colour, line] of [["#000a", 4], ["#fff", 2]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = line;
        pen.beginPath();
        pen.roundRect(x, y, wide, face.height * height, 6);
        pen.stroke();
      }
      const label = String(face.id);
      const room = pen.measureText(label).width + 12;
      pen.fillStyle = "#fff";
      pen.beginPath();
      pen.roundRect(x - 1, Math.max(0, y - 20), room, 18, 4);
      pen.fill();
      pen.fillStyle = "#111";
      pen.fillText(label, x + 5, Math.max(0, y - 20) + 9.5);
    }
  }

  #ratio(width, height) {
    if (width && height) this.#frame.style.aspectRatio = `${width} / ${height}`;
  }
}
