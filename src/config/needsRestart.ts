// What of buckets.json can't be taken on by a daemon that runs: another place of a backup. Its frames lie in
// the old one, and would be passed by all that comes later.
import type { BucketsConfig } from './buckets.js';
import type { FileSettings } from './fileSettings.js';
import { Problems, pathOf } from './problems.js';

/** @throws ConfigError with one line for each setting that needs a restart */
export function refuseWhatNeedsRestart(before: BucketsConfig, after: BucketsConfig, fileName: string): void {
  const problems = new Problems(fileName);
  const used = usedStreams(after);
  for (const id of usedStreams(before)) {
    const [old, now] = [backupOf(before, id), used.has(id) ? backupOf(after, id) : undefined];
    if (old === undefined || now === undefined) continue;
    for (const key of ['path', 'fileNameTemplate'] as const) {
      if (old[key] === now[key]) continue;
      problems.add(
        `${pathOf('streamsConfigs', id)}.backup.settings.${key}`,
        `${JSON.stringify(now[key])} was ${JSON.stringify(old[key])}, and a backup's place changes only with a restart of Kahe: set it back, or restart; what the old place holds then stays there, and kahe replay sends it`,
      );
    }
  }
  problems.throwIfAny();
}

/** Ids of streams that some bucket has. */
function usedStreams({ buckets, defaultBucket }: BucketsConfig): ReadonlySet<string> {
  return new Set(
    [...buckets, ...(defaultBucket === undefined ? [] : [defaultBucket])].flatMap((b) => b.streams),
  );
}

function backupOf({ streamsConfigs }: BucketsConfig, id: string): FileSettings | undefined {
  const backup = streamsConfigs[id]?.backup;
  return backup?.type === 'file' ? backup.settings : undefined;
}
