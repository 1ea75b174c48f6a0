// Which partition each frame of a batch goes to, now that it is known which can be written.
import type { Batch } from '../../frames/batch.js';
import type { AwayPartitions } from './awayPartitions.js';
import type { Partitioner } from './partitioner.js';
import { addIndexes, partitionBatch } from './partitioning.js';
import type { FrameRange } from './recordBatch.js';

export interface Assignment {
  /** By partition: what is sent there. */
  readonly ranges: readonly (readonly [partition: number, range: FrameRange])[];
  /** The frames for partitions that are away. */
  readonly away: ReadonlySet<number>;
  /** Those for a partition that the topic does not have. */
  readonly unknown: FrameRange | undefined;
}

export type Away = Pick<AwayPartitions, 'has'>;

export function assign(
  batch: Batch,
  leaders: readonly number[],
  partitioner: Partitioner,
  partitionsAway: Away,
): Assignment {
  const keyless = keylessPartition(batch, leaders, partitionsAway);
  const ranges: (readonly [number, FrameRange])[] = [];
  const away = new Set<number>();
  let unknown: FrameRange | undefined;
  for (const [partition, range] of partitionBatch(batch, leaders.length, partitioner, keyless)) {
    if (partition === leaders.length) unknown = range;
    else if (partitionsAway.has(partition)) addIndexes(away, range);
    else ranges.push([partition, range]);
  }
  return { ranges, away, unknown };
}

/**
 * For the keyless frames of one batch, which stay together while the next batch goes elsewhere: the partition
 * that was drawn, or, while it can't be written, one that can.
 */
export function keylessPartition({ draw }: Batch, leaders: readonly number[], away: Away): number {
  const drawn = draw % leaders.length;
  const canBeWritten = (partition: number): boolean => leaders[partition]! >= 0 && !away.has(partition);
  if (canBeWritten(drawn)) return drawn;
  const others = [...leaders.keys()].filter(canBeWritten);
  return others[draw % others.length] ?? drawn;
}
