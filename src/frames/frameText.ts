// A frame as JSON has it: its parts as text, or as base64 where they are none.
import type { FrameParts } from './frameParts.js';

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

export interface ShownFrame extends FrameParts {
  /** Bytes of the message, of which only the beginning may be there. */
  readonly size: number;
}

export interface FrameJson {
  readonly bucket: string;
  readonly key: string | null;
  readonly size: number;
  readonly message: string | null;
  /** Names of the fields that are base64; missing: none is. */
  readonly base64?: readonly string[];
  /** These three of full frames alone. Null: chosen, and the time of arrival. */
  readonly partition?: number | null;
  /** Milliseconds since 1970. */
  readonly timestamp?: number | null;
  readonly headers?: readonly HeaderJson[];
}

export interface HeaderJson {
  readonly name: string;
  readonly value: string | null;
  /** The value is base64. */
  readonly base64?: true;
}

export function frameJson({ bucket, key, size, message, full }: ShownFrame): FrameJson {
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
    message: message === null ? null : part('message', message),
  };
  return {
    ...parts,
    ...(base64.length > 0 ? { base64 } : {}),
    ...(full === undefined ? {} : fullJson(full)),
  };
}

function fullJson({ partition, timestampMs, headers }: NonNullable<FrameParts['full']>): Partial<FrameJson> {
  return {
    partition: partition < 0 ? null : partition,
    timestamp: timestampMs < 0 ? null : timestampMs,
    headers: headers.map(([name, value]) => headerJson(name, value)),
  };
}

function headerJson(name: string, value: Buffer | null): HeaderJson {
  if (value === null) return { name, value };
  const text = textOf(value);
  return text === undefined ? { name, value: value.toString('base64'), base64: true } : { name, value: text };
}
