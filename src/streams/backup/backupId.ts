// By which names the journals of files know a stream's relatives. What stands in them must stay as it is:
// files on disks bear it.

/** A stream that sends what was over the rate limit of its bucket: it has files of its own. */
export function surplusId(stream: string): string {
  return `${stream}.over`;
}

/** @param isSurplus it holds what was over the rate limit, apart from the rest */
export function backupId(stream: string, isSurplus = false): string {
  return isSurplus ? surplusId(`${stream}.backup`) : `${stream}.backup`;
}

/** Whose backup it is; undefined: it is none. */
export function streamOfBackup(
  id: string,
): { readonly stream: string; readonly isSurplus: boolean } | undefined {
  const [, stream, over] = /^(.+)\.backup(\.over)?$/s.exec(id) ?? [];
  return stream === undefined ? undefined : { stream, isSurplus: over !== undefined };
}
