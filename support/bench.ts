// What most benches have: a clock that the test moves, memory that must come back to nothing, the log's
// lines; and for actors the system that they live in.
import { ActorSystem } from '../src/actors/system.js';
import { Log, type LogLevel } from '../src/log/log.js';
import { MemoryBudget } from '../src/memory/memoryBudget.js';
import { FakeClock, turn, untilSo } from './fakeClock.js';

export const MB = 1024 * 1024;

/** For what logs, and nobody reads it. */
export const SILENT = new Log('FATAL', () => undefined);

export class Bench {
  readonly clock: FakeClock;
  readonly budget: MemoryBudget;
  readonly lines: string[] = [];
  readonly log: Log;

  constructor({
    level = 'DEBUG',
    memoryBytes = 64 * MB,
    nowMs,
  }: { readonly level?: LogLevel; readonly memoryBytes?: number; readonly nowMs?: number } = {}) {
    this.clock = new FakeClock(nowMs);
    this.budget = new MemoryBudget(memoryBytes);
    this.log = new Log(level, (line) => this.lines.push(line));
  }

  /** Time passes, and what it has set off runs. */
  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await turn();
  }

  /** @throws when it has not come to be so after much real time */
  until(what: string, isSo: () => boolean, stepMs?: number): Promise<void> {
    return untilSo(this.clock, what, isSo, () => this.lines.slice(-100).join(''), stepMs);
  }

  /** The lines of one level, without their time. */
  logged(level: LogLevel): string[] {
    return this.lines
      .filter((line) => line.startsWith(`${level} |`))
      .map((line) => line.split(' | ').slice(2).join(' | ').trim());
  }
}

export class ActorBench extends Bench {
  readonly system = new ActorSystem(this.clock, this.log);
}
