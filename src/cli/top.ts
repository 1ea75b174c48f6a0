// `kahe top`: the streams of the running daemon, live: a screen on a terminal, elsewhere a block of lines at
// each look.
import { setTimeout as delay } from 'node:timers/promises';
import { ADMIN_OPTION, AdminLink, NoDaemonError } from './adminLink.js';
import { type Command, type CommandLine, UsageError } from './command.js';
import type { Io } from './io.js';
import { LiveFace, PlainFace } from './top/faces.js';
import { SORTS, type Sort, TopView } from './top/view.js';

export const topCommand: Command = {
  name: 'top',
  summary: 'shows what flows through the running daemon, live',
  options: {
    interval: { value: 'SECONDS', help: 'from one look to the next; 1 without it' },
    count: { value: 'N', help: 'ends after so many looks' },
    sort: { value: 'BY', help: `what stands first: ${SORTS.join(', ')}; rate without it` },
    admin: ADMIN_OPTION,
  },
  examples: ['kahe top --sort queue', 'kahe top --interval 10 --count 6 >> /tmp/kahe.txt'],
  exitCodes: {
    0: 'it ended as asked',
    1: 'a fault',
    2: 'a wrong command line',
    3: 'no daemon answers, or nothing says where it is',
  },
  run: top,
};

const SHORTEST_SECONDS = 0.1;
const LONGEST_SECONDS = 24 * 60 * 60;

async function top(line: CommandLine, io: Io): Promise<number> {
  if (line.operands.length > 0) throw new UsageError(`it takes no ${JSON.stringify(line.operands[0])}`);
  const [intervalMs, count, sort] = [
    intervalOf(line) * 1000,
    line.wholeNumber('count') ?? Infinity,
    sortOf(line),
  ];
  const link = AdminLink.of(line, io);
  const stop = new AbortController();
  const endListening = io.onStop(() => stop.abort());
  const view = new TopView(sort);
  const face = isScreen(io) ? new LiveFace(io, view, () => stop.abort()) : new PlainFace(io, view);
  try {
    // A daemon that can't be asked at all is reported at once; later it is waited for.
    view.take(await link.look(stop.signal));
    face.open();
    for (let look = 0; look < count; look++) {
      await delay(intervalMs, undefined, { signal: stop.signal });
      await takeLook(link, view, stop.signal);
      await face.show();
    }
    return view.isAway ? 3 : 0;
  } catch (error) {
    if (stop.signal.aborted) return 0;
    throw error;
  } finally {
    face.close();
    endListening();
  }
}

async function takeLook(link: AdminLink, view: TopView, signal: AbortSignal): Promise<void> {
  try {
    view.take(await link.look(signal));
  } catch (error) {
    if (signal.aborted || !(error instanceof NoDaemonError)) throw error;
    view.miss(error.message, Date.now());
  }
}

function isScreen({ out, env }: Io): boolean {
  return out.isTerminal && env['TERM'] !== 'dumb';
}

function intervalOf(line: CommandLine): number {
  const seconds = line.number('interval') ?? 1;
  if (seconds >= SHORTEST_SECONDS && seconds <= LONGEST_SECONDS) return seconds;
  throw new UsageError(
    `--interval ${line.text('interval')!} is not from ${SHORTEST_SECONDS} to ${LONGEST_SECONDS} seconds`,
  );
}

function sortOf(line: CommandLine): Sort {
  const text = line.text('sort') ?? 'rate';
  const sort = SORTS.find((name) => name === text);
  if (sort === undefined)
    throw new UsageError(`--sort ${JSON.stringify(text)} is none of ${SORTS.join(', ')}`);
  return sort;
}
