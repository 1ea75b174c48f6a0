// One entry of `streamsConfigs`, with its backup. Promise: every default is filled in, settings included.
import { z } from 'zod';
import { parseKafkaSettings, type KafkaSettings } from './kafka/settings.js';
import { parseFileSettings, type FileSettings } from './fileSettings.js';
import { pathOf, type Problems } from './problems.js';
import { anyRecord, checkObject, readBy } from './zodProblems.js';
import { isRecord, parseFraction } from './values.js';

interface KafkaTarget {
  readonly type: 'kafka';
  readonly settings: KafkaSettings;
}

interface FileTarget {
  readonly type: 'file';
  readonly settings: FileSettings;
}

interface PrimaryParts {
  /** The key in `streamsConfigs`. */
  readonly id: string;
  /** The share of frames that are sent, 0 to 1; default 1. */
  readonly slice: number;
  /**
   * Takes over when this stream fails; it takes every frame (its slice is 1) and has no backup of its own.
   */
  readonly backup: BackupConfig | undefined;
}

interface BackupParts {
  /**
   * auto: Kahe sends the backup's files itself once the primary is back. manual: an operator does. Default
   * auto.
   */
  readonly replay: 'auto' | 'manual';
}

export type KafkaStreamConfig = KafkaTarget & PrimaryParts;
export type FileStreamConfig = FileTarget & PrimaryParts;
export type StreamConfig = KafkaStreamConfig | FileStreamConfig;
export type BackupConfig = (KafkaTarget | FileTarget) & BackupParts;

/** What the parsing of one file shares: where its findings go, and where relative folders start. */
export interface ParseContext {
  readonly problems: Problems;
  /** Things that are accepted but surely not meant. */
  readonly warnings: string[];
  /** Settings that are accepted but change nothing. */
  readonly notes: string[];
  readonly cwd: string;
}

const targetShape = { type: z.enum(['kafka', 'file']), settings: anyRecord };
const slice = readBy((value) => parseFraction(value, 0, 1)).default(1);

const streamSchema = z.strictObject({ ...targetShape, slice, backup: z.unknown().optional() });
const backupSchema = z.strictObject({
  ...targetShape,
  slice,
  replay: z.enum(['auto', 'manual']).default('auto'),
  backup: z.never({ error: "a backup can't have a backup of its own" }).optional(),
});

/** Undefined when something is wrong with it, which is then in the context's problems. */
export function parseStream(id: string, raw: unknown, context: ParseContext): StreamConfig | undefined {
  const path = pathOf('streamsConfigs', id);
  const checked = checkObject(streamSchema, raw, path, context.problems);
  if (!isRecord(raw)) return undefined;
  const target = parseTarget(raw, path, context);
  const backup =
    raw['backup'] === undefined ? undefined : parseBackup(raw['backup'], `${path}.backup`, context);
  if (checked === undefined || target === undefined) return undefined;
  if (checked.slice === 0) context.warnings.push(`${path}.slice: 0, so nothing is ever sent to this stream`);
  return { ...target, id, slice: checked.slice, backup };
}

function parseBackup(raw: unknown, path: string, context: ParseContext): BackupConfig | undefined {
  const checked = checkObject(backupSchema, raw, path, context.problems);
  if (!isRecord(raw)) return undefined;
  const target = parseTarget(raw, path, context);
  if (raw['slice'] !== undefined)
    context.warnings.push(`${path}.slice: not used, a backup takes every frame`);
  if (raw['replay'] !== undefined && raw['type'] === 'kafka')
    context.warnings.push(`${path}.replay: not used, only the files of a backup are replayed`);
  return checked === undefined || target === undefined ? undefined : { ...target, replay: checked.replay };
}

/** Reads the settings even when the rest of the entry is wrong, so that one start shows every mistake. */
function parseTarget(
  raw: Readonly<Record<string, unknown>>,
  path: string,
  context: ParseContext,
): KafkaTarget | FileTarget | undefined {
  const { type, settings } = raw;
  if (!isRecord(settings)) return undefined;
  if (type === 'kafka') {
    const kafka = parseKafkaSettings(settings, `${path}.settings`, context.problems);
    context.notes.push(...kafka.notes);
    return { type, settings: kafka };
  }
  if (type !== 'file') return undefined;
  const file = parseFileSettings(settings, `${path}.settings`, context.problems, context.cwd);
  return file && { type, settings: file };
}
