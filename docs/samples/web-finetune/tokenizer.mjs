// Tokenizers in the format of llama2.c: tokens with scores; text is cut into characters, and the pair with the best score is
// joined until none is left.

const beginOfText = 1;
const firstByte = 3;

export function readTokenizer(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder();
  const ids = new Map();
  const scores = [];
  for (let at = 4; at < bytes.length;) {
    const score = view.getFloat32(at, true);
    const length = view.getInt32(at + 4, true);
    at += 8;
    const text = decoder.decode(bytes.subarray(at, at + length));
    if (!ids.has(text)) ids.set(text, scores.length);
    scores.push(score);
    at += length;
  }

  const encode = (text) => {
    let pieces = [...` ${text}`].flatMap((c) => (ids.has(c) ? [c] : [...new TextEncoder().encode(c)]));
    for (;;) {
      let best = -1;
      let bestScore = -Infinity;
      for (let i = 0; i + 1 < pieces.length; i++) {
        const id = typeof pieces[i] === 'string' && typeof pieces[i + 1] === 'string' ? ids.get(pieces[i] + pieces[i + 1]) : undefined;
        if (id !== undefined && scores[id] > bestScore) [best, bestScore] = [i, scores[id]];
      }
      if (best < 0) break;
      pieces = [...pieces.slice(0, best), pieces[best] + pieces[best + 1], ...pieces.slice(best + 2)];
    }
    return [beginOfText, ...pieces.map((piece) => (typeof piece === 'string' ? ids.get(piece) : piece + firstByte))];
  };
  return { encode };
}
