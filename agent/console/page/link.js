// The connection to the server: opened again when it is lost, waiting a little longer each time.

import { parse } from "./wire.js";

const FIRST_WAIT = 250; // ms
const LONGEST_WAIT = 8000;
const SILENCE = 12000; // ms without a word from the server, which answers a ping every 2 s: the connection is dead
const PING = 2000;
const TRIES = 4; // then it is said that the server is gone, and tried on
const FULL = 192 * 1024; // bytes that wait to be sent: about 6 s of sound, all of it too late to be of use

/**
 * States, told by `onstate(state, detail)`: "connecting", "open", "reconnecting" (detail: ms until the next try),
 * "gone" (the same, after several tries), "stale" (the token is not accepted: only the printed address helps).
 */
export class Link {
  state = "connecting";
  trip = null; // ms, there and back
  dropped = 0; // frames that were not sent because the connection was full
  reconnects = 0;
  onstate = () => {};
  onmessage = () => {};
  onframe = () => {};
  #token;
  #socket = null;
  #tries = 0;
  #timer = 0;
  #ping = 0;
  #heard = 0;

  constructor(token) {
    this.#token = token;
    addEventListener("online", () => this.retry());
  }

  /** An address of the server's API, with the token. */
  address(path, query = {}) {
    const url = new URL(path, document.baseURI);
    for (const [name, value] of Object.entries({ ...query, token: this.#token })) url.searchParams.set(name, value);
    return url.href;
  }

  open() {
    clearTimeout(this.#timer);
    if (this.state !== "gone") this.#become(this.#tries ? "reconnecting" : "connecting");
    const socket = new WebSocket(this.address("ws").replace(/^http/, "ws"));
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      this.#heard = performance.now();
      this.#ping = setInterval(() => this.#watch(), PING);
    };
    socket.onmessage = ({ data }) => {
      this.#heard = performance.now();
      if (typeof data !== "string") {
        const frame = parse(data);
        if (frame) this.onframe(frame);
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "welcome") {
        if (this.#tries) this.reconnects += 1;
        this.#tries = 0;
        this.#become("open");
        this.send({ type: "ping", time: performance.now() });
      } else if (message.type === "pong") {
        this.trip = performance.now() - message.time;
      }
      this.onmessage(message);
    };
    socket.onclose = ({ code, reason }) => this.#closed(socket, code, reason);
  }

  /** Try now, if a try is waited for. */
  retry() {
    if (this.state === "reconnecting" || this.state === "gone") {
      if (this.#socket === null) this.open();
    }
  }

  /** Send a message; false if there is no connection. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Send a frame, unless more than `full` bytes already wait: then it is dropped and counted. */
  sendFrame(frame, full = FULL) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    if (this.#socket.bufferedAmount > full) {
      this.dropped += 1;
      return false;
    }
    this.#socket.send(frame);
    return true;
  }

  #watch() {
    if (performance.now() - this.#heard > SILENCE) this.#closed(this.#socket, 0, "");
    else this.send({ type: "ping", time: performance.now() });
  }

  async #closed(socket, code, reason) {
    if (socket !== this.#socket) return;
    clearInterval(this.#ping);
    this.#socket = null;
    socket.onclose = socket.onmessage = null;
    socket.close();
    if (reason) this.onmessage({ type: "error", message: `The server closed the connection: ${reason}` });
    this.#tries += 1;
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (this.#tries - 1)) * (0.8 + 0.4 * Math.random());
    this.#become(this.#tries > TRIES ? "gone" : "reconnecting", wait);
    if (await this.#refused()) {
      this.#become("stale");
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.open(), wait);
  }

  /** Whether a server answers and does not accept the token (it was started again and has printed another). */
  async #refused() {
    try {
      const answer = await fetch(this.address("api/recordings"), { signal: AbortSignal.timeout(2000) });
      return answer.status === 403 || answer.status === 401;
    } catch {
      return false; // nobody answers at all
    }
  }

  #become(state, detail = 0) {
    this.state = state;
    this.onstate(state, detail);
  }
}
