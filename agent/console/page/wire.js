// Binary frames of the console's WebSocket. Everything is little-endian, as every browser's machine is.

export const SOUND = 1;
export const PICTURE = 2;
const HEADER = 16; // bytes, of all four kinds of frame

/** A block of the microphone: `sequence` counts blocks since "take", `time` (ms) is that of the end of its last sample. */
export function microphoneFrame(sequence, time, samples) {
  const frame = head(SOUND, sequence, time, samples.byteLength);
  new Int16Array(frame, HEADER).set(samples);
  return frame;
}

/** A picture of the camera: `time` (ms) is that of its capture; `jpeg` is an ArrayBuffer. */
export function cameraFrame(sequence, time, jpeg) {
  const frame = head(PICTURE, sequence, time, jpeg.byteLength);
  new Uint8Array(frame, HEADER).set(new Uint8Array(jpeg));
  return frame;
}

function head(kind, sequence, time, bytes) {
  const frame = new ArrayBuffer(HEADER + bytes);
  const view = new DataView(frame);
  view.setUint8(0, kind);
  view.setUint32(4, sequence, true);
  view.setFloat64(8, time, true);
  return frame;
}

/**
 * What the server sent: sound `{kind, epoch, rate, sequence, index, samples}` with `index` that of the first sample, or a
 * picture `{kind, sequence, t, jpeg}` with `t` in seconds of session time; null for a kind this page does not know.
 */
export function parse(buffer) {
  if (buffer.byteLength < HEADER) return null;
  const view = new DataView(buffer);
  const kind = view.getUint8(0);
  const sequence = view.getUint32(4, true);
  if (kind === SOUND) {
    const samples = new Int16Array(buffer, HEADER, (buffer.byteLength - HEADER) >> 1);
    return { kind, epoch: view.getUint8(1), rate: view.getUint16(2, true), sequence, index: Number(view.getBigInt64(8, true)), samples };
  }
  if (kind === PICTURE) {
    return { kind, sequence, t: view.getFloat64(8, true), jpeg: new Blob([new Uint8Array(buffer, HEADER)], { type: "image/jpeg" }) };
  }
  return null;
}
