// Metrics of the process. Those that every Prometheus client has are called as they are there.
import type { Metric } from './metric.js';
import { counter, gauge } from './singleMetrics.js';

export const PROCESS_METRICS: readonly Metric[] = [
  gauge(
    'kahe_event_loop_delay_p50_seconds',
    'How long what is due waits behind what is running, over the last ten seconds: the median',
    ({ eventLoopDelay }) => eventLoopDelay?.p50,
  ),
  gauge(
    'kahe_event_loop_delay_p99_seconds',
    '… the 99th percentile',
    ({ eventLoopDelay }) => eventLoopDelay?.p99,
  ),
  gauge('kahe_event_loop_delay_max_seconds', '… the longest', ({ eventLoopDelay }) => eventLoopDelay?.max),
  {
    type: 'gauge',
    name: 'kahe_build_info',
    help: 'Always 1; the versions of Kahe and Node are in the labels',
    labels: ['version', 'node'],
    read: ({ program: { version, node } }) => [[{ version, node }, 1]],
  },
  gauge('kahe_stopping', 'Whether it is being stopped (1)', ({ isStopping }) => Number(isStopping)),
  counter(
    'process_cpu_user_seconds_total',
    'Processor time of the process, all threads',
    ({ process }) => process.userCpuSeconds,
  ),
  counter(
    'process_cpu_system_seconds_total',
    'Processor time of the kernel for the process, all threads',
    ({ process }) => process.systemCpuSeconds,
  ),
  gauge(
    'process_resident_memory_bytes',
    'Memory that the process occupies',
    ({ process }) => process.residentBytes,
  ),
  gauge('process_open_fds', 'Files and sockets that are open', ({ process }) => process.openFiles),
  gauge(
    'process_start_time_seconds',
    'When it was started, seconds since 1970',
    ({ startedAtMs }) => startedAtMs / 1000,
  ),
  gauge(
    'nodejs_heap_size_used_bytes',
    'Memory of JavaScript objects',
    ({ process }) => process.heapUsedBytes,
  ),
  gauge(
    'nodejs_external_memory_bytes',
    'Memory outside of them, buffers above all',
    ({ process }) => process.externalBytes,
  ),
];
