// The machine and the versions that figures belong to.
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** One line of the result page each. */
export function describeMachine(): string[] {
  const cpus = os.cpus();
  const [load] = os.loadavg();
  return [
    `${cpus[0]?.model.trim() ?? 'unknown CPU'}, ${cpus.length} cores, ${Math.round(os.totalmem() / 2 ** 30)} GiB of memory; load average before: ${load!.toFixed(2)}`,
    `${os.type()} ${os.release()}, Node ${process.version}, Kafka ${kafkaVersion()} (one broker on the same machine)`,
  ];
}

function kafkaVersion(): string {
  const pom = readFileSync(path.resolve(import.meta.dirname, '../test/kafka/pom.xml'), 'utf8');
  return /<artifactId>kafka_[\d.]+<\/artifactId>\s*<version>([^<]+)</.exec(pom)?.[1] ?? 'of unknown version';
}
