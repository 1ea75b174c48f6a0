// All doors together: opens them, hears for them of memory that is full, lets unfinished input go on where it
// must, counts, and ends them in one order. Promise: a door that is stuck, or has a bug, holds up neither
// another nor the end.
import { asBug } from '../errors.js';
import { type Timer, doneWithin } from '../clock.js';
import { DOOR_PATIENCE_MS } from '../config/stopPlan.js';
import type { Log } from '../log/log.js';
import type { Pressure } from '../memory/memoryBudget.js';
import { Unfinished } from '../memory/unfinished.js';
import { plural } from '../plural.js';
import type { Door } from './door.js';
import type { DoorCounts } from './doorCounts.js';
import { Entrance, type EntranceParts } from './entrance.js';
import { ReadPacer } from './readPacer.js';

export type DoorsParts = Omit<EntranceParts, 'unfinished' | 'pacer'>;

const SWEEP_MS = 1_000;
const LOG_FULL_EVERY_MS = 10_000;

export class Doors {
  readonly #parts: DoorsParts;
  readonly #log: Log;
  readonly #doors: ReadonlyMap<Door, Entrance>;
  /** Those that read their clients still. */
  readonly #reading = new Set<Door>();
  readonly #unfinished = new Unfinished();
  #timesFull = 0;
  #loggedFullMs = -Infinity;
  #endPressure: () => void = () => undefined;
  #sweeper: Timer | undefined;

  /** @param doors in the order in which they open */
  constructor(parts: DoorsParts, doors: readonly Door[]) {
    this.#parts = parts;
    this.#log = parts.system.log.at('/doors');
    // One for all: it is the thread that pauses.
    const pacer = new ReadPacer(() => this.#isAnswerAwaited());
    const shared: EntranceParts = { ...parts, pacer, unfinished: this.#unfinished };
    this.#doors = new Map(doors.map((door) => [door, new Entrance(shared)]));
  }

  /** By the door's name. */
  get counts(): ReadonlyMap<string, Readonly<DoorCounts>> {
    return new Map([...this.#doors].map(([{ name }, { counts }]) => [name, counts]));
  }

  /** Frames that came in by all of them, and those of these that were bad. */
  get received(): { readonly frames: number; readonly bad: number } {
    const counts = [...this.#doors.values()].map((entrance) => entrance.counts);
    const sum = (what: 'received' | 'bad'): number => counts.reduce((all, each) => all + each[what], 0);
    return { frames: sum('received'), bad: sum('bad') };
  }

  /** Why nobody new can come in by a door, a line for each that has a problem. */
  get problems(): readonly string[] {
    return [...this.#doors.keys()].flatMap(({ problem }) => (problem === undefined ? [] : [problem]));
  }

  /** From here on frames come in. */
  open(): void {
    this.#endPressure = this.#parts.budget.onPressure((pressure) => this.#onPressure(pressure));
    for (const [door, entrance] of this.#doors) {
      this.#reading.add(door);
      door.open(entrance);
    }
    this.#sweeper = this.#parts.system.clock.every(SWEEP_MS, () => this.#sweep());
  }

  /** First half of the end, all doors at once, or a busy one would take the others' time. See `Door`. */
  async quiesce(withinMs: number): Promise<void> {
    const quieted = [...this.#reading].map(async (door) => {
      await this.#end(door, () => door.quiesce(withinMs), withinMs);
      this.#reading.delete(door);
    });
    await Promise.all(quieted);
    this.#endPressure();
    this.#sweeper?.cancel();
  }

  /** Second half, when the buckets have ended. */
  async release(): Promise<void> {
    await Promise.all([...this.#doors.keys()].map((door) => this.#end(door, () => door.release(), 0)));
  }

  /** Waits until the door has done it, not for ever, and whatever comes of it. */
  async #end(door: Door, how: () => Promise<void>, withinMs: number): Promise<void> {
    const patienceMs = withinMs + DOOR_PATIENCE_MS;
    try {
      if (await doneWithin(this.#parts.system.clock, patienceMs, how())) return;
      this.#log.error(`door ${door.name} did not end within ${patienceMs} ms: it is passed over`, {
        timeoutMs: patienceMs,
      });
    } catch (error) {
      this.#log.error(`door ${door.name} failed as it ended: ${asBug(error)}`, { reason: String(error) });
    }
  }

  #isAnswerAwaited(): boolean {
    for (const { counts } of this.#doors.values()) if (counts.awaited > 0) return true;
    return false;
  }

  /** Somebody is taking or giving memory: a door's bug must not become theirs. */
  #onPressure(pressure: Pressure): void {
    if (pressure === 'over') this.#logFull();
    for (const door of this.#reading)
      this.#guarded(`door ${door.name}`, () => {
        if (pressure === 'over') door.pause();
        else door.resume();
      });
  }

  #guarded(who: string, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#log.error(`${who} failed: ${asBug(error)}`, { reason: String(error) });
    }
  }

  /** At a high load memory fills and empties many times a second: the log says so once in a while. */
  #logFull(): void {
    const { budget, system } = this.#parts;
    const nowMs = system.clock.now();
    this.#timesFull++;
    if (nowMs - this.#loggedFullMs < LOG_FULL_EVERY_MS) return;
    this.#log.warn(
      `memory is full (MAXMEMORY ${budget.limitBytes} bytes): clients wait until there is room; see which stream doesn't deliver, or raise MAXMEMORY; ${this.#timesFull} ${plural(this.#timesFull, 'time')} so far`,
      { limitBytes: budget.limitBytes, times: this.#timesFull },
    );
    this.#loggedFullMs = nowMs;
  }

  #sweep(): void {
    const { budget } = this.#parts;
    budget.trim();
    const blocking = this.#unfinished.blocking(budget);
    if (blocking !== undefined)
      this.#guarded('a client that is to finish its input', () => blocking.finish());
  }
}
