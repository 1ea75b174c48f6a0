// docs/metrics.md, the Grafana dashboard and the alert rules speak of the metrics that there are, and of all
// of them. Needs no Kafka.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { Metrics } from '../src/stats/metrics/metrics.js';
import { firstTable, quoted, section } from './docs/markdown.js';

const read = (file: string): string => readFileSync(path.resolve(import.meta.dirname, '..', file), 'utf8');
const known = await new Metrics().described();
const names = known.flatMap(({ name, type }) =>
  type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
);

/** Names of our metrics in a text. */
function named(text: string): string[] {
  return [...new Set([...text.matchAll(/\b(?:kahe|process|nodejs)_[a-z0-9_]+/g)].map(([name]) => name))];
}

describe('docs/metrics.md', () => {
  const rows = firstTable(section(read('docs/metrics.md'), '## All metrics')).map(
    ([name, type, labels, help]) => ({ name: quoted(name!)[0], type, labels: quoted(labels!), help }),
  );

  it('has every metric, with its type, its labels and what the code says of it', () => {
    expect(rows).toEqual(
      known.map(({ name, type, labels, help }) => ({ name, type, labels: [...labels], help })),
    );
  });

  it('names no other', () => {
    expect(
      named(read('docs/metrics.md')).filter(
        (name) => !names.includes(name) && !known.some((metric) => metric.name === name),
      ),
    ).toEqual([]);
  });

  it('the names are as Prometheus wants them', () => {
    const odd = known.filter(
      ({ name, type }) =>
        !/^[a-z][a-z0-9_]+$/.test(name) ||
        (type === 'counter') !== name.endsWith('_total') ||
        /_(ms|kb|mb)(_|$)/.test(name),
    );
    expect(odd).toEqual([]);
  });
});

describe.each(['ops/alerts.yml', 'ops/grafana-dashboard.json'])('%s', (file) => {
  const used = named(read(file));

  it('asks only for metrics that there are', () => {
    expect(used.length).toBeGreaterThan(8);
    expect(used.filter((name) => !names.includes(name))).toEqual([]);
  });

  it('asks only for labels that they have', () => {
    const asked = [
      ...read(file)
        .replaceAll('\\"', '"')
        .matchAll(/\b((?:kahe|process)_[a-z0-9_]+)\{([^}]*)\}/g),
    ];
    for (const [, name, selector] of asked) {
      const labels = known.find((metric) => name!.startsWith(metric.name))!.labels;
      const wanted = [...selector!.matchAll(/([a-z_]+)=~?"/g)]
        .map(([, label]) => label!)
        .filter((label) => label !== 'job' && label !== 'instance');
      expect(
        wanted.filter((label) => !labels.includes(label)),
        name,
      ).toEqual([]);
    }
  });
});

it('docs/operations.md says what to do at each alert, in the order of the rules', () => {
  const rules = [...read('ops/alerts.yml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
  expect(
    firstTable(section(read('docs/operations.md'), '## Alerts')).map(([name]) => quoted(name!)[0]),
  ).toEqual(rules);
});

it('ops/grafana-dashboard.json is JSON, and each panel has a place and a question', () => {
  const { panels } = JSON.parse(read('ops/grafana-dashboard.json')) as {
    panels: { title: string; gridPos: object; targets: { expr: string; refId: string }[] }[];
  };
  expect(panels.length).toBeGreaterThan(15);
  for (const { title, targets } of panels)
    expect([
      title,
      targets.length > 0 && targets.every(({ expr, refId }) => expr !== '' && refId !== ''),
    ]).toEqual([title, true]);
});
