// The streams of an actor as they are configured now, with what counts for them, their replay and their
// deadline; and what the actor's step function may know of them.
import type { ActorContext } from '../actors/actor.js';
import { messageOf } from '../errors.js';
import { CatchUp } from './backup/catchUp.js';
import { openAll } from './openAndClose.js';
import { StopDeadline } from './stopDeadline.js';
import { StreamCounts } from './streamCounts.js';
import type { StreamMessage } from './streamMessage.js';
import { BEGINS_ANEW } from './streamModes.js';
import type { StreamActorOptions } from './streamOptions.js';
import type { StreamFacts } from './streamState.js';
import type { Target } from './waiting.js';

export class StreamAssembly {
  readonly catchUp: CatchUp;
  readonly stopDeadline: StopDeadline;
  readonly counts: StreamCounts;
  readonly facts: StreamFacts;
  /** Resolves when they are open, or could not be opened. */
  readonly opened: Promise<void>;

  /** Begins to open the streams. @param tell what comes of them, for as long as they are these */
  constructor(
    readonly options: StreamActorOptions,
    { clock, log }: ActorContext<StreamMessage>,
    readonly tell: (event: StreamMessage) => void,
  ) {
    const { replay, stopTimeoutMs, stats } = options;
    const onEnded = (problem: string | undefined): void => tell({ kind: 'replayed', problem });
    this.catchUp = new CatchUp({ replay, log, onEnded });
    this.stopDeadline = new StopDeadline(clock, stopTimeoutMs, () => tell({ kind: 'deadline' }));
    this.counts = new StreamCounts(options);
    this.facts = new Facts(options, this.catchUp);
    stats.enter('normal', BEGINS_ANEW);
    this.opened = openAll(options).then(
      () => tell({ kind: 'opened', problem: undefined }),
      (error: unknown) => tell({ kind: 'opened', problem: messageOf(error) }),
    );
  }

  /** The replay's runs are not those of whatever comes next. */
  end(): void {
    this.stopDeadline.cancel();
    void this.catchUp.stop();
  }
}

/** As things are at the moment of asking. */
class Facts implements StreamFacts {
  readonly hasBackup: boolean;
  readonly depth: Readonly<Record<Target, number>>;
  readonly #options: StreamActorOptions;
  readonly #catchUp: CatchUp;

  constructor(options: StreamActorOptions, catchUp: CatchUp) {
    const { primary, backup } = options;
    this.hasBackup = backup !== undefined;
    this.depth = { primary: primary.depth, backup: backup?.depth ?? 0 };
    this.#options = options;
    this.#catchUp = catchUp;
  }

  get away(): string | undefined {
    return this.#options.primary.away;
  }

  get hasReturned(): boolean {
    return this.#options.primary.hasReturned === true;
  }

  get isReplayDue(): boolean {
    return this.#catchUp.isDue;
  }

  get whatWasLeft(): string {
    return this.#catchUp.whatWasLeft;
  }
}
