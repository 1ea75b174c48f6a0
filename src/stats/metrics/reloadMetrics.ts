// Metrics of reloading the configuration, named as Prometheus names its own.
import type { Metric } from './metric.js';
import { gauge } from './singleMetrics.js';

export const RELOAD_METRICS: readonly Metric[] = [
  {
    type: 'counter',
    name: 'kahe_config_reloads_total',
    help: 'How often the configuration was read again (SIGHUP), by whether it could be taken on',
    labels: ['result'],
    read: ({ reloads }) =>
      reloads === undefined
        ? []
        : [
            [{ result: 'success' }, reloads.successes],
            [{ result: 'failure' }, reloads.failures],
          ],
  },
  gauge(
    'kahe_config_last_reload_successful',
    'Whether the last reload was taken on (1); 1 before the first',
    ({ reloads }) => reloads && Number(reloads.wasLastSuccessful),
  ),
  gauge(
    'kahe_config_last_reload_success_timestamp_seconds',
    'When the configuration that is in force was read, seconds since 1970',
    ({ reloads }) => reloads && reloads.lastSuccessMs / 1000,
  ),
];
