// The names in the spool: a folder for each bucket, a file for each segment. By them segments sort as their
// batches were opened, no two buckets share a folder, and no name is a path.
import { safeName, shortened } from '../disk/names.js';

const SEGMENT_NAME = /^(\d{13})-\d{8}(?:\.\d+)?\.bckstm$/;
/** NAME_MAX is 255, and a bucket's name may be as long before it is made safe. */
const LONGEST_NAME = 235;

export function folderOf(bucket: string): string {
  return shortened(safeName(bucket), LONGEST_NAME);
}

/** @param attempt from 1 on: the same batch once more, after the disk had failed */
export function segmentName(timeMs: number, sequence: number, attempt: number): string {
  const stem = `${String(timeMs).padStart(13, '0')}-${String(sequence).padStart(8, '0')}`;
  return `${stem}${attempt === 0 ? '' : `.${attempt}`}.bckstm`;
}

/** When the batch was opened, ms since the epoch; undefined: it is no segment. */
export function timeOfSegment(name: string): number | undefined {
  const time = SEGMENT_NAME.exec(name)?.[1];
  return time === undefined ? undefined : Number(time);
}
