// The oracle of the fault tests. Promise: what the daemon was given is held, frame by frame, against what
// lies in Kafka and in the daemon's folders, without asking the daemon; only then is the daemon's own account
// compared with that.
//
//   const workload = new Workload({ buckets: topics });        workload.ts   clients, and what each is owed
//   await workload.start(daemon);                              once for each daemon on the folder
//   … the fault …
//   await workload.end();                                      on a daemon that was killed: the next one reads its spool
//   await daemon.stop();
//   const verdict = await judge({ workloads: [workload], daemon, topics, bootstrap, duplicatesAtMost: 400 });
//   expect(verdict.problems).toEqual([]);
//
// stage.ts does all of this, and watches memory, open files and the log, for a test that needs nothing
// special.
import path from 'node:path';
import { LOG_LINE, type TestDaemon } from '../../support/daemon.js';
import { compareAccounts, type AccountRules } from './accounts.js';
import { findInFiles, findInKafka, type FoundList } from './findings.js';
import { reachVerdict, type Rules, type Verdict } from './verdict.js';
import type { Workload } from './workload.js';

export {
  endOffset,
  partitionEnd,
  findInFiles,
  findInKafka,
  readRejections,
  type FoundList,
  type Place,
  type Rejection,
} from './findings.js';
export { appendRecord, type FaultRecord } from './record.js';
export { isFull, sized } from './sizes.js';
export { reachVerdict, type BucketCount, type Rules, type Verdict } from './verdict.js';
export { Workload, plannedFrame, type Sender, type SentBy, type WorkloadPlan } from './workload.js';

export interface JudgeOptions extends Rules {
  /** Everything that wrote to these buckets. */
  readonly workloads: readonly Workload[];
  /** The last daemon on its folder, ended in an orderly way (`daemon.stop()`). */
  readonly daemon: TestDaemon;
  /** Those before it, which may have been killed: their logs are looked at. */
  readonly earlier?: readonly TestDaemon[];
  /**
   * Where to read Kafka back: not through a proxy that misbehaves. undefined: there is no Kafka in this test.
   */
  readonly bootstrap?: string;
  /**
   * Topics to read. Default: the buckets of the workloads. One that does not exist must not be among them.
   */
  readonly topics?: readonly string[];
  /**
   * Folders of .bckstm files below the daemon's own. `null`: it has none. Defaults: `backup`, `spool`,
   * `rejected`.
   */
  readonly backup?: string | null;
  readonly spool?: string | null;
  readonly rejected?: string | null;
  /** A file stream's folder that counts as delivered, where no Kafka is. */
  readonly delivered?: string;
  /** Found before, where it can't be read any more: a topic that was then deleted. */
  readonly moreFound?: readonly FoundList[];
  /** The stream whose account is compared. Default `kafka`; null: none is. */
  readonly stream?: string | null;
}

/** @throws Error when a file is torn or Kafka can't be read; everything else is in `problems` */
export async function judge(options: JudgeOptions): Promise<Verdict> {
  const { workloads, daemon, earlier = [], stream = 'kafka' } = options;
  const verdict = reachVerdict(
    workloads.flatMap(({ senders }) => senders),
    [...(await findAll(options)), ...(options.moreFound ?? [])],
    options,
  );
  const accounts: AccountRules = { stream: stream ?? '', isFirstLife: earlier.length === 0 };
  const problems = [
    ...verdict.problems,
    ...[...earlier, daemon].flatMap(strangeLines),
    ...(stream === null ? [] : compareAccounts(daemon, verdict, accounts)),
  ];
  return { ...verdict, problems };
}

async function findAll(options: JudgeOptions): Promise<FoundList[]> {
  const {
    daemon,
    bootstrap,
    workloads,
    backup = 'backup',
    spool = 'spool',
    rejected = 'rejected',
    delivered,
  } = options;
  const topics = options.topics ?? [...new Set(workloads.flatMap(({ plan }) => plan.buckets))];
  const below = (name: string) => path.join(daemon.folder, name);
  return [
    ...(bootstrap === undefined ? [] : await findInKafka(bootstrap, topics)),
    ...(delivered === undefined
      ? []
      : (await findInFiles('backup', below(delivered))).map((list) => ({
          ...list,
          place: 'kafka' as const,
        }))),
    ...(backup === null ? [] : await findInFiles('backup', below(backup))),
    ...(spool === null ? [] : await findInFiles('spool', below(spool))),
    ...(rejected === null ? [] : await findInFiles('rejected', below(rejected))),
  ];
}

/** A warning of Node's, a stack trace: whatever is no log line. */
function strangeLines(daemon: TestDaemon): string[] {
  return daemon.lines
    .filter((line) => !LOG_LINE.test(line))
    .map((line) => `no log line: ${line.slice(0, 200)}`);
}
