// `kahe status`: one look at the running daemon. Its exit code says the same to scripts: ready, not ready, or
// nobody there.
import { reasonsNotReady } from '../stats/readiness.js';
import type { Snapshot } from '../stats/snapshot.js';
import type { Account } from '../streams/account.js';
import { ADMIN_OPTION, AdminLink } from './adminLink.js';
import { type Command, type CommandLine, UsageError, columns } from './command.js';
import { type Io, type Output, painted } from './io.js';
import {
  BACKED_UP,
  BUCKET,
  QUEUED,
  STREAM,
  type StreamRow,
  modeColumn,
  problemText,
  rateColumn,
  readinessLines,
  rowsOf,
  shareText,
  titleOf,
} from './streamRows.js';
import { type Column, roomOf, tableOf } from './table.js';
import { bytesText, countText, counted, durationText, escaped, framesText, rateText } from './units.js';

export const statusCommand: Command = {
  name: 'status',
  summary: 'shows how the running daemon is, at one look',
  options: {
    admin: ADMIN_OPTION,
    json: { help: 'all there is to know, as one JSON object: what the admin door has as /status.json' },
  },
  examples: [
    'kahe status',
    'kahe status --json | jq .memory',
    'kahe status --admin /run/kahe/admin/admin.sock || echo "look at it"',
  ],
  exitCodes: {
    0: 'it is ready',
    1: 'it is not ready: starting, stopping, clients wait, or a stream delivers nowhere',
    2: 'a wrong command line',
    3: 'no daemon answers, or nothing says where it is',
  },
  run: status,
};

async function status(line: CommandLine, io: Io): Promise<number> {
  if (line.operands.length > 0) throw new UsageError(`it takes no ${JSON.stringify(line.operands[0])}`);
  const shown = await AdminLink.of(line, io).look();
  if (shown === undefined) {
    await io.err.write('kahe status: not ready: starting\n');
    return 1;
  }
  const { snapshot, text } = shown;
  await io.out.write(line.has('json') ? `${text}\n` : `${linesOf(snapshot, io.out).join('\n')}\n`);
  return reasonsNotReady(snapshot).length === 0 ? 0 : 1;
}

function linesOf(snapshot: Snapshot, out: Output): string[] {
  const rows = rowsOf(snapshot, 'start');
  const troubled = rows.filter(({ stream }) => stream.lastProblem !== undefined);
  return [
    titleOf(snapshot),
    ...readinessLines(snapshot, out),
    columns(factsOf(snapshot)),
    '',
    ...tableOf(tableColumns(out), rows, roomOf(out)),
    ...(troubled.length === 0 ? [] : ['', ...tableOf(problemColumns(out), troubled, roomOf(out))]),
  ];
}

function factsOf({
  socket,
  memory,
  paused,
  spool,
  rejected,
  discards,
  process: { residentBytes },
  takenAtMs,
  startedAtMs,
}: Snapshot): [string, string][] {
  const perSecond = socket.received / Math.max(0.001, (takenAtMs - startedAtMs) / 1000);
  const discarded = discards.reduce((sum, { frames }) => sum + frames, 0);
  const kept = rejected.reasons.reduce((sum, { frames }) => sum + frames, 0);
  return [
    [
      'received',
      `${framesText(socket.received)}, ${rateText(perSecond)} a second since the start; ${countText(socket.bad)} bad`,
    ],
    [
      'connections',
      `${countText(socket.open)} open, ${countText(socket.accepted)} since the start${socket.turnedAway === 0 ? '' : `; ${countText(socket.turnedAway)} turned away for lack of open files`}`,
    ],
    [
      'memory',
      `${shareText(memory.heldBytes, memory.limitBytes)} held; the process has ${bytesText(residentBytes)}`,
    ],
    [
      'spool',
      spool === undefined
        ? 'none'
        : `${shareText(spool.bytes, spool.maxBytes)}${spool.isFull ? ', full' : ''}${spool.failingSegments === 0 ? '' : `, ${counted(spool.failingSegments, 'file')} that the disk does not take`}`,
    ],
    ['paused', pausedText(paused)],
    ...(kept + rejected.lostFrames === 0
      ? []
      : [
          [
            'rejected',
            `${framesText(kept)}: ${rejected.reasons.map(({ reason, frames }) => `${escaped(reason)} (${countText(frames)})`).join(', ')}${rejected.lostFrames === 0 ? '' : `; ${countText(rejected.lostFrames)} could not be kept`}`,
          ] as [string, string],
        ]),
    ...(discarded === 0 ? [] : [['discarded', framesText(discarded)] as [string, string]]),
  ];
}

function pausedText({ isForMemory, isForSpool, ms, times }: Snapshot['paused']): string {
  if (isForMemory || isForSpool)
    return `clients wait now, for ${isForMemory ? 'memory' : 'the spool'}; ${durationText(ms)} in all`;
  return times === 0
    ? 'never: no client had to wait'
    : `not now; ${counted(times, 'time')} until now, ${durationText(ms)} in all`;
}

function tableColumns(out: Output): Column<StreamRow>[] {
  const counts = (head: string, what: keyof Account, spare: number): Column<StreamRow> => ({
    head,
    side: 'right',
    text: ({ stream }) => countText(stream.account[what]),
    spare,
    paint: (text, { stream }) =>
      what !== 'slicedOut' && stream.account[what] > 0 ? painted(out, 'yellow', text) : text,
  });
  return [
    BUCKET,
    STREAM,
    modeColumn(out),
    { ...rateColumn('IN/S', 'received'), spare: 1 },
    { ...rateColumn('OUT/S', 'delivered'), spare: 2 },
    { head: 'RECEIVED', side: 'right', text: ({ stream }) => countText(stream.account.received) },
    { head: 'DELIVERED', side: 'right', text: ({ stream }) => countText(stream.account.delivered) },
    QUEUED,
    BACKED_UP,
    counts('SLICED OUT', 'slicedOut', 7),
    counts('REJECTED', 'rejected', 4),
    counts('DISCARDED', 'discarded', 5),
    { head: 'BACKLOG', side: 'right', text: ({ backlogBytes }) => bytesText(backlogBytes), spare: 6 },
  ];
}

function problemColumns(out: Output): Column<StreamRow>[] {
  return [
    BUCKET,
    STREAM,
    {
      head: 'LAST PROBLEM',
      side: 'left',
      text: problemText,
      atLeast: 20,
      paint: (text, { stream: { mode, isAlive } }) =>
        isAlive && mode === 'error' ? painted(out, 'red', text) : text,
    },
  ];
}
