// The streams of an actor, opened and closed together, each in an order that keeps frames.
import { type Clock, doneWithin } from '../clock.js';
import { backupMs } from '../config/stopPlan.js';
import type { StreamActorOptions } from './streamOptions.js';

/** @throws Error what a person must fix */
export async function openAll({ beforeOpen, primary, backup }: StreamActorOptions): Promise<void> {
  await beforeOpen?.();
  await Promise.all([primary.open(), backup?.open()]);
}

/** Nothing is outstanding any more. */
export async function closeAll({ replay, primary, backup }: StreamActorOptions): Promise<void> {
  await replay?.stop();
  const streams = backup === undefined ? [primary] : [primary, backup];
  await Promise.allSettled(streams.map((stream) => stream.close({ deadlineMs: backupMs() })));
}

/** What is outstanding has this time to end; then it is handed back. */
export async function closeWithin(
  withinMs: number,
  parts: Pick<StreamActorOptions, 'primary' | 'backup' | 'replay'> & {
    readonly opening: Promise<void>;
    readonly clock: Clock;
  },
): Promise<void> {
  const { primary, backup, replay, opening, clock } = parts;
  const untilMs = clock.now() + withinMs;
  const leftMs = (): number => Math.max(0, untilMs - clock.now());
  // What is being opened puts its files in order: a successor must not do so at the same time. A replay ends
  // with the piece that it sends.
  await doneWithin(clock, withinMs, opening);
  if (replay !== undefined) await doneWithin(clock, leftMs(), replay.stop());
  await primary.close({ deadlineMs: leftMs() });
  // Now that the primary has handed it back.
  await replay?.stop();
  await backup?.close({ deadlineMs: withinMs });
}
