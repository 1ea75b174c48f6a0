// A frame as JSON has it: its parts as text, or as base64 where they are none.

/**
 * The text that these bytes are; undefined: they are none. `isCut`: the last character may be there in part.
 */
export function textOf(bytes: Uint8Array, isCut = false): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: isCut });
  } catch {
    return undefined;
  }
}

export interface FrameParts {
  readonly bucket: Buffer;
  /** Null: the frame has none. */
  readonly key: Buffer | null;
  /** Bytes of the message. */
  readonly size: number;
  /** The message, or its beginning. */
  readonly message: Buffer;
}

export interface FrameJson {
  readonly bucket: string;
  readonly key: string | null;
  readonly size: number;
  readonly message: string;
  /** Names of the fields that are base64; missing: none is. */
  readonly base64?: readonly string[];
}

export function frameJson({ bucket, key, size, message }: FrameParts): FrameJson {
  const base64: string[] = [];
  const part = (name: string, bytes: Buffer): string => {
    const text = textOf(bytes, bytes === message && bytes.length < size);
    if (text === undefined) base64.push(name);
    return text ?? bytes.toString('base64');
  };
  const parts = {
    bucket: part('bucket', bucket),
    key: key === null ? null : part('key', key),
    size,
    message: part('message', message),
  };
  return { ...parts, ...(base64.length > 0 ? { base64 } : {}) };
}
