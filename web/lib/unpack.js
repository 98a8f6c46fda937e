// gzip and tar, as the build packs what Python needs: unpacked in JavaScript, because Python is not up yet.

/** @param {Uint8Array<ArrayBuffer>} bytes @returns {Promise<Uint8Array<ArrayBuffer>>} */
export async function gunzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The same into a buffer that is there already. @param {Uint8Array<ArrayBuffer>} bytes @param {Uint8Array} into */
export async function inflate(bytes, into) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip')).getReader();
  for (let at = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    into.set(value, at);
    at += value.length;
  }
}

/**
 * A tar archive's files: names and contents, which are views of the archive.
 * @param {Uint8Array<ArrayBuffer>} tar @returns {Generator<[string, Uint8Array<ArrayBuffer>]>}
 */
export function* files(tar) {
  const text = new TextDecoder();
  for (let at = 0; at + 512 <= tar.length && tar[at]; ) {
    const field = (/** @type {number} */ from, /** @type {number} */ to) => {
      const bytes = tar.subarray(at + from, at + to);
      const end = bytes.indexOf(0);
      return text.decode(end < 0 ? bytes : bytes.subarray(0, end));
    };
    const prefix = field(345, 500);
    const name = `${prefix ? `${prefix}/` : ''}${field(0, 100)}`;
    const size = Number.parseInt(field(124, 136), 8);
    const type = tar[at + 156];
    at += 512;
    if (type === 48 || type === 0) yield [name, tar.subarray(at, at + size)];
    at += Math.ceil(size / 512) * 512;
  }
}

/**
 * Write a tar archive's files below a folder of Emscripten's file system.
 * @param {any} FS @param {Uint8Array<ArrayBuffer>} tar @param {string} folder
 */
export function untar(FS, tar, folder) {
  const made = new Set();
  for (const [name, bytes] of files(tar)) {
    const path = `${folder}/${name}`;
    const parent = path.slice(0, path.lastIndexOf('/'));
    if (!made.has(parent)) FS.mkdirTree(parent);
    made.add(parent);
    FS.writeFile(path, bytes, { canOwn: true }); // no copy: the archive is let go
  }
}
