// SIGHUP: reads BUCKETS_FILE again, and has the daemon take on what it says. Promise: one reload after the
// other, the latest file wins, and a file that can't be used changes nothing, which is told with its place.
import { isDeepStrictEqual } from 'node:util';
import type { ReloadFigures } from '../stats/snapshot.js';
import { type BucketsConfig, loadBuckets } from '../config/buckets.js';
import { changesBetween, describeChanges } from '../config/changes.js';
import { refuseWhatNeedsRestart } from '../config/needsRestart.js';
import { type Environment, type EnvironmentSource, loadEnvironment } from '../config/env.js';
import { ConfigError, stackOf } from '../errors.js';
import type { Log } from '../log/log.js';

export interface ReloadsOptions {
  /** What is in force. */
  readonly environment: Environment;
  readonly buckets: BucketsConfig;
  /** As they were read from. */
  readonly source: EnvironmentSource;
  readonly log: Log;
  readonly now?: () => number;
  /** Around each reload, also one that fails. */
  readonly onBegin?: () => void;
  readonly onEnd?: () => void;
}

export class Reloads {
  readonly #options: ReloadsOptions;
  readonly #now: () => number;
  #buckets: BucketsConfig;
  #take: ((buckets: BucketsConfig) => Promise<void>) | undefined;
  #state: 'starting' | 'idle' | 'reloading' | 'closed' = 'starting';
  /** Since the last reload began. */
  #isAsked = false;
  #successes = 0;
  #failures = 0;
  #lastSuccessMs: number;
  #problem: string | undefined;

  constructor(options: ReloadsOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#buckets = options.buckets;
    this.#lastSuccessMs = this.#now();
  }

  get figures(): ReloadFigures {
    const problem = this.#problem;
    return {
      successes: this.#successes,
      failures: this.#failures,
      wasLastSuccessful: problem === undefined,
      lastSuccessMs: this.#lastSuccessMs,
      ...(problem === undefined ? {} : { problem }),
    };
  }

  /** The daemon is there: what was asked for before is done now. */
  begin(take: (buckets: BucketsConfig) => Promise<void>): void {
    if (this.#state !== 'starting') return;
    this.#take = take;
    this.#state = 'idle';
    if (this.#isAsked) void this.#run();
  }

  ask(): void {
    if (this.#state === 'closed')
      return this.#options.log.info('SIGHUP: ignored, because the daemon is stopping', { signal: 'SIGHUP' });
    this.#isAsked = true;
    if (this.#state === 'idle') void this.#run();
  }

  /** The daemon's end begins: no reload any more. */
  close(): void {
    this.#state = 'closed';
  }

  async #run(): Promise<void> {
    this.#state = 'reloading';
    this.#options.onBegin?.();
    // It may be asked for again meanwhile, or the end may begin.
    while (this.#isAsked && !this.#isClosed()) {
      this.#isAsked = false;
      await this.#reload();
    }
    if (this.#isClosed()) return;
    this.#state = 'idle';
    this.#options.onEnd?.();
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  async #reload(): Promise<void> {
    const {
      environment: { bucketsFile },
      source,
      log,
    } = this.#options;
    this.#checkEnvironment();
    try {
      const buckets = loadBuckets(bucketsFile, source);
      refuseWhatNeedsRestart(this.#buckets, buckets, bucketsFile);
      this.#tellNews(buckets);
      const changes = changesBetween(this.#buckets, buckets);
      await this.#take?.(buckets);
      this.#buckets = buckets;
      this.#successes++;
      this.#lastSuccessMs = this.#now();
      this.#problem = undefined;
      log.info(`SIGHUP: ${bucketsFile} is in force: ${describeChanges(changes)}`, {
        signal: 'SIGHUP',
        file: bucketsFile,
      });
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    const { log } = this.#options;
    const isMistake = error instanceof ConfigError;
    const lines = isMistake
      ? error.message.split('\n')
      : [`this is a bug in Kahe, please report it: ${stackOf(error)}`];
    this.#failures++;
    this.#problem = lines[0]!;
    for (const line of lines) log.error(`SIGHUP: ${line}`, { signal: 'SIGHUP', reason: line });
    log.error(
      isMistake
        ? 'SIGHUP: nothing was changed, the old configuration goes on; `kahe check` tells whether a file can be used'
        : 'SIGHUP: the configuration may be taken on in part; a restart takes it on whole',
      { signal: 'SIGHUP' },
    );
  }

  /** What was said of the last file is not said again. */
  #tellNews({ warnings, notes }: BucketsConfig): void {
    const { log } = this.#options;
    for (const warning of warnings.filter((each) => !this.#buckets.warnings.includes(each)))
      log.warn(warning);
    for (const note of notes.filter((each) => !this.#buckets.notes.includes(each))) log.info(note);
  }

  #checkEnvironment(): void {
    const { environment, source, log } = this.#options;
    try {
      const now = loadEnvironment(source);
      if (isDeepStrictEqual(now, environment)) return;
      const file = now.file ?? environment.file;
      log.warn(`SIGHUP: ${file ?? 'the environment'} has changed: its settings need a restart`, {
        signal: 'SIGHUP',
        file,
      });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const line of error.message.split('\n'))
        log.warn(`SIGHUP: ${line}; with it the daemon would not start again`, {
          signal: 'SIGHUP',
          reason: line,
        });
    }
  }
}
