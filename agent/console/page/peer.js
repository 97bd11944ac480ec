// A peer connection (WebRTC) that carries sound in datagrams, for networks that lose some: nothing waits behind what was
// lost. Offer and answer go over the WebSocket; where this fails, so does the sound, and the page tries again later.

import { parse } from "./wire.js";

const GATHER = 1000; // ms for the addresses of this machine
const OPEN = 8000; // ms until it is open, or given up
const FULL = 1400; // bytes that wait to be sent: two blocks of the microphone
const COPIES = 2; // each block is sent again with the one so many later: a loss of two in a row loses nothing
const STUCK_BLOCKS = 4; // that may be in it when it is found full
const STUCK = 0.5; // share of blocks, of the last second or so, that found it full: then it is given up
const FIRST_WAIT = 5000; // ms until it is tried again
const LONGEST_WAIT = 60000;

export class Peer {
  onframe = () => {}; // frames of sound, as `wire.parse` gives them
  onchange = () => {};
  #link;
  #servers = [];
  #connection = null;
  #channel = null;
  #recent = [];
  #full = 0;
  #wait = FIRST_WAIT;
  #retry = 0;
  #limit = 0;

  constructor(link) {
    this.#link = link;
  }

  get isOpen() {
    return this.#channel?.readyState === "open";
  }

  /** Connect, and again whenever that is lost, until `end`. */
  begin(servers) {
    this.end();
    this.#servers = servers.map(({ urls, username, credential }) => (username ? { urls, username, credential } : { urls }));
    this.#connect();
  }

  end() {
    clearTimeout(this.#retry);
    this.#wait = FIRST_WAIT;
    this.#close();
  }

  /** The server's answer to the offer. */
  async answer(sdp) {
    try {
      await this.#connection?.setRemoteDescription({ type: "answer", sdp });
    } catch {
      this.#fail(); // it answers an offer that is no longer the last
    }
  }

  /**
   * Send a block of the microphone. What is returned has to go the other way: nothing; or, where the channel is full, this
   * block behind those that may be stuck in it (which may come twice then).
   */
  send(frame) {
    if (!this.isOpen) return [frame];
    const full = this.#channel.bufferedAmount > FULL;
    this.#full += ((full ? 1 : 0) - this.#full) / 50;
    const stuck = full ? [...this.#recent.splice(0), frame] : [];
    if (this.#full > STUCK) this.#fail();
    if (full) return stuck;
    this.#channel.send(frame);
    if (this.#recent.length >= COPIES && this.#channel.bufferedAmount < FULL) this.#channel.send(this.#recent.at(-COPIES));
    this.#recent.push(frame);
    if (this.#recent.length > STUCK_BLOCKS) this.#recent.shift();
    return stuck;
  }

  async #connect() {
    let connection;
    try {
      connection = new RTCPeerConnection({ iceServers: this.#servers });
    } catch {
      return; // a browser without it, or servers it does not take: there is the WebSocket
    }
    this.#connection = connection;
    const channel = connection.createDataChannel("sound", { ordered: false, maxRetransmits: 0 });
    channel.binaryType = "arraybuffer";
    channel.onopen = () => {
      clearTimeout(this.#limit);
      this.#wait = FIRST_WAIT;
      this.#channel = channel;
      this.onchange();
    };
    channel.onclose = () => this.#lost(connection);
    channel.onmessage = ({ data }) => {
      const frame = data instanceof ArrayBuffer ? parse(data) : null;
      if (frame?.samples) this.onframe(frame);
    };
    connection.onconnectionstatechange = () => {
      if (["failed", "closed", "disconnected"].includes(connection.connectionState)) this.#lost(connection);
    };
    this.#limit = setTimeout(() => this.#lost(connection), OPEN);
    try {
      await connection.setLocalDescription();
      await gathered(connection);
    } catch {
      this.#lost(connection);
      return;
    }
    if (connection === this.#connection) this.#link.send({ type: "offer", sdp: connection.localDescription.sdp });
  }

  #lost(connection) {
    if (connection === this.#connection) this.#fail();
  }

  #fail() {
    this.#close();
    this.#link.send({ type: "offer", sdp: "" }); // it is not used any more
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), this.#wait);
    this.#wait = Math.min(LONGEST_WAIT, this.#wait * 2);
  }

  #close() {
    clearTimeout(this.#limit);
    const connection = this.#connection;
    this.#connection = this.#channel = null;
    this.#recent = [];
    this.#full = 0;
    if (!connection) return;
    connection.onconnectionstatechange = null;
    connection.close();
    this.onchange();
  }
}

/** Once the addresses are known, or it takes too long. */
function gathered(connection) {
  if (connection.iceGatheringState === "complete") return null;
  return new Promise((done) => {
    setTimeout(done, GATHER);
    connection.addEventListener("icegatheringstatechange", () => connection.iceGatheringState === "complete" && done());
  });
}
