// Loaded into the daemon by the fault tests (NODE_OPTIONS=--import): how late its event loop was, as a JSON
// file when it ends.
import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 5;
const file = process.env.KAHE_LOOP_FILE;
if (file !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  // The histogram has the whole time between two looks, so the time that was asked for is taken off.
  const ms = (ns) => Math.max(0, ns / 1e6 - RESOLUTION_MS);
  process.on('exit', () =>
    writeFileSync(file, JSON.stringify({ p99Ms: ms(delay.percentile(99)), maxMs: ms(delay.max) })),
  );
}
