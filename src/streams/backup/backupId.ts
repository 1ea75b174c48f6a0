// By which names the journals of files know a stream's backup. What stands in them must stay as it is: files
// on disks bear it.

export function backupId(stream: string): string {
  return `${stream}.backup`;
}

/**
 * Whose backup it is; undefined: it is none. Journals of earlier versions may name a second one, `.over`, of
 * frames over a rate limit: no stream sends it any more.
 */
export function streamOfBackup(id: string): string | undefined {
  return /^(.+)\.backup(?:\.over)?$/s.exec(id)?.[1];
}
