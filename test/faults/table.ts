// Prints the Markdown table of all faults that `.cache/test/faults.jsonl` (or the file named) knows: `tsx
// test/faults/table.ts [FILE]`.
import { readFileSync } from 'node:fs';
import { RECORDS, type FaultRecord } from './record.js';

const COLUMNS = [
  'fault',
  'kept by',
  'times',
  'sent',
  'lost',
  'twice',
  'keyless late',
  'delivers again after',
  'peak memory',
  'loop delay p99',
  '',
];

export function faultTable(records: readonly FaultRecord[]): string {
  const latest = new Map(records.map((record) => [`${record.fault}|${record.arrangement}`, record]));
  const rows = [COLUMNS, COLUMNS.map(() => '---'), ...[...latest.values()].map(cells)];
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n');
}

function cells(record: FaultRecord): string[] {
  const {
    fault,
    arrangement,
    runs,
    sent,
    lost,
    duplicated,
    keylessDisordered,
    recoverMs,
    peakRssMb,
    loopDelayP99Ms,
    note = '',
  } = record;
  const counts = [runs, sent, lost, duplicated, keylessDisordered].map((count) => count.toLocaleString('en'));
  return [
    fault,
    arrangement,
    ...counts,
    recoverMs === undefined ? '–' : `${(recoverMs / 1000).toFixed(1)} s`,
    peakRssMb === undefined ? '–' : `${peakRssMb} MB`,
    loopDelayP99Ms === undefined ? '–' : `${loopDelayP99Ms.toFixed(0)} ms`,
    note,
  ];
}

if (process.argv[1] === import.meta.filename) {
  const lines = readFileSync(process.argv[2] ?? RECORDS, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  console.log(faultTable(lines.map((line) => JSON.parse(line) as FaultRecord)));
}
