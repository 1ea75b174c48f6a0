// The hexdumps of docs/protocol.md: as `hexdump -C` prints bytes, with lines below that say what they mean.

export interface Hexdump {
  readonly bytes: Buffer;
  /** The lines that open with "# ". */
  readonly meaning: readonly string[];
  /** The lines of bytes as they stand. */
  readonly printed: readonly string[];
}

export function readHexdump(code: string): Hexdump {
  const lines = code.trimEnd().split('\n');
  const printed = lines.filter((line) => !line.startsWith('# '));
  const meaning = lines.filter((line) => line.startsWith('# ')).map((line) => line.slice(2));
  const hex = printed.map((line) => line.slice(10, 58).replaceAll(' ', '')).join('');
  return { bytes: Buffer.from(hex, 'hex'), meaning, printed };
}

export function printHexdump(bytes: Buffer): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte, i) => `${byte.toString(16).padStart(2, '0')}${i === 7 ? '  ' : ' '}`).join('');
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(8, '0')}  ${hex.padEnd(50)}|${text}|`);
  }
  return lines;
}
