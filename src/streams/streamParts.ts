// One stream of one bucket, from its configuration: the primary, its backup, the replay of that, and the
// account that they share.
import type { ReadTurns } from '../memory/readTurns.js';
import type { BackupConfig, StreamConfig } from '../config/buckets.js';
import type { Discards } from '../losses/discards.js';
import type { Log } from '../log/log.js';
import { plural } from '../plural.js';
import { Replay } from './backup/replay.js';
import { backupId } from './backup/backupId.js';
import { type Account, book, move } from './account.js';
import type { BackupLedger } from './backup/backupLedger.js';
import type { DiscardedFile } from './file/ownFiles.js';
import type { StreamMaker } from './streamMaker.js';
import type { BackupReplay, Stream } from './stream.js';
import type { RejectedFrames } from '../losses/rejection.js';
import { FileStream } from './file/fileStream.js';
import type { StreamStats } from './streamStats.js';

export interface StreamParts {
  readonly primary: Stream;
  readonly backup: Stream | undefined;
  readonly replay: BackupReplay | undefined;
  /** What the backup's files hold now. */
  readonly backedUp: () => BackedUp | undefined;
}

export interface BackedUp {
  readonly files: number;
  /** Of which the primary has had nothing yet. */
  readonly bytes: number;
  /** They are being sent to the primary. */
  readonly isBeingSent: boolean;
}

export interface StreamPartsOptions {
  readonly maker: StreamMaker;
  readonly rejected: RejectedFrames;
  readonly discards: Discards;
  readonly turns: ReadTurns;
  readonly bucket: string;
  readonly account: Account;
  readonly ledger: Pick<BackupLedger, 'found'>;
  /** When the daemon's life began, ms since the epoch. */
  readonly startedAtMs: number;
  readonly stats: StreamStats;
  readonly log: Log;
}

export function makeStreamParts(config: StreamConfig, options: StreamPartsOptions): StreamParts {
  const { maker, bucket, log, stats } = options;
  const primary = maker.make(config, {
    bucket,
    log,
    streamId: config.id,
    // Delivered they were: these are the files that the reader was to fetch in time.
    onDiscard: ({ file, frames }) =>
      log.warn(
        `${file} was removed with ${frames} ${plural(frames, 'frame')}: maxFiles was reached; fetch files sooner, or raise maxFiles`,
        { reason: 'maxFiles was reached', file, frames },
      ),
    stats,
  });
  if (config.backup === undefined)
    return { primary, backup: undefined, replay: undefined, backedUp: () => undefined };
  return { primary, ...makeBackup(config.backup, config.id, primary, options) };
}

/** What is outstanding is handed back. */
export function closeNow({ primary, backup }: StreamParts): void {
  void primary.close({ deadlineMs: 0 });
  void backup?.close({ deadlineMs: 0 });
}

function makeBackup(
  config: BackupConfig,
  id: string,
  primary: Stream,
  options: StreamPartsOptions,
): Omit<StreamParts, 'primary'> {
  const { maker, bucket, log, account, ledger, stats, turns, rejected, discards } = options;
  const streamId = backupId(id);
  const isReplayed = config.type === 'file' && config.replay === 'auto';
  const onDiscard = (file: DiscardedFile): void => discardBackup(file, id, isReplayed, options);
  if (config.type !== 'file' || !isReplayed)
    return withFiles(maker.make(config, { bucket, log, streamId, onDiscard }), undefined);
  const backup = maker.makeFile(config.settings, {
    bucket,
    log,
    streamId,
    onDiscard,
    onFound: (frames) => ledger.found(frames),
  });
  const onLost: ConstructorParameters<typeof Replay>[0]['onLost'] = (lost) =>
    discards.add({ bucket, stream: id, ...lost });
  return withFiles(
    backup,
    new Replay({ backup, primary, bucket, turns, rejected, account, stats, onLost, log }),
  );
}

function withFiles(backup: Stream, replay: Replay | undefined): Omit<StreamParts, 'primary'> {
  const backedUp = (): BackedUp | undefined => {
    if (!(backup instanceof FileStream)) return undefined;
    return {
      files: backup.files.length,
      bytes: backup.own.unsent.bytes,
      isBeingSent: replay?.isRunning === true,
    };
  };
  return { backup, replay, backedUp };
}

/**
 * With a manual replay what previous runs have left is an operator's business, and in nobody's account until
 * it goes.
 */
function discardBackup(
  { frames, bytes, openedMs, isOld }: DiscardedFile,
  id: string,
  isReplayed: boolean,
  { bucket, account, discards, startedAtMs }: StreamPartsOptions,
): void {
  // A stream that was changed has found what it wrote before in this run.
  if (isOld && openedMs < startedAtMs && !isReplayed) book(account, frames, 'discarded');
  else move(account, frames, 'backedUp', 'discarded');
  discards.add({
    bucket,
    stream: id,
    frames,
    bytes,
    reason: 'the oldest backup file went: maxFiles was reached',
  });
}
