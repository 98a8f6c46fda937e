// How a message travels over a WebSocket: JSON in a text frame, or with bytes in one binary frame.
//
// binary frame = u32 header length (little-endian) | header: JSON, each bytes field {"$bytes": [offset, length]} | bytes

/** @param {object} message @returns {string | Uint8Array<ArrayBuffer>} */
export function encode(message) {
  /** @type {Uint8Array[]} */
  const blobs = [];
  let size = 0;
  const text = JSON.stringify(message, (_, value) => {
    if (!(value instanceof Uint8Array)) return value;
    const at = size;
    blobs.push(value);
    size += value.length;
    return { $bytes: [at, value.length] };
  });
  if (!blobs.length) return text;
  const header = new TextEncoder().encode(text);
  const frame = new Uint8Array(4 + header.length + size);
  new DataView(frame.buffer).setUint32(0, header.length, true);
  frame.set(header, 4);
  let at = 4 + header.length;
  for (const blob of blobs) {
    frame.set(blob, at);
    at += blob.length;
  }
  return frame;
}

/** @param {string | ArrayBuffer} frame @returns {any} @throws {RangeError | SyntaxError} if the frame is malformed */
export function decode(frame) {
  if (typeof frame === 'string') return JSON.parse(frame);
  const length = new DataView(frame).getUint32(0, true);
  const body = 4 + length;
  if (body > frame.byteLength) throw new RangeError('The frame is shorter than its header says.');
  const text = new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array(frame, 4, length));
  return JSON.parse(text, (_, value) => {
    if (!Array.isArray(value?.$bytes)) return value;
    const [at, size] = value.$bytes;
    if (!(at >= 0 && size >= 0 && body + at + size <= frame.byteLength)) {
      throw new RangeError('The frame points outside of itself.');
    }
    return new Uint8Array(frame.slice(body + at, body + at + size));
  });
}
