// rsyslog, the fastest of the peers: lines over a Unix stream socket (imptcp) to Kafka (omkafka, so
// librdkafka). Only where it is installed.
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ServerProcess, type System } from './system.js';
import type { Topics } from './topics.js';

const PROGRAM_FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/usr/local/sbin'];
const LIBRARY_FOLDERS = ['/usr/lib', '/usr/lib64', '/usr/local/lib'];

/** What is missing for it to run; undefined when it can. */
export function rsyslogLacks(): string | undefined {
  const program = findProgram();
  if (program === undefined) return 'rsyslogd is not installed';
  const modules = moduleFolder();
  if (modules === undefined) return 'rsyslog has no imptcp and omkafka here (Debian: rsyslog-kafka)';
  return undefined;
}

/** Such as "8.2302.0". */
export function rsyslogVersion(): string {
  return (
    /rsyslogd\s+(\S+)/.exec(execFileSync(findProgram()!, ['-v'], { encoding: 'utf8' }))?.[1] ??
    'of unknown version'
  );
}

export function rsyslog(topics: Topics, partitions: number): System {
  return {
    name: 'rsyslog, snappy',
    async start(folder) {
      const topic = await topics.make(partitions);
      const socketPath = path.join(folder, 'rsyslog.sock');
      const configFile = path.join(folder, 'rsyslog.conf');
      writeFileSync(configFile, configuration(folder, socketPath, topic.name, topics.bootstrap));
      const server = await ServerProcess.start(
        [findProgram()!, '-n', '-f', configFile, '-i', path.join(folder, 'rsyslog.pid')],
        folder,
        socketPath,
      );
      return {
        pid: server.pid,
        receiver: { path: socketPath, wire: 'line', finish: 'silent' },
        untilArrived: (frames) => topic.untilHas(frames),
        countArrived: () => topic.remove(),
        stop: () => server.stop(),
      };
    },
  };
}

/** Its defaults, but for what the comparison needs, and a librdkafka queue that a burst does not fill. */
function configuration(folder: string, socketPath: string, topic: string, bootstrap: string): string {
  const brokers = bootstrap
    .split(',')
    .map((broker) => `"${broker}"`)
    .join(',');
  const settings = [
    'compression.codec=snappy',
    'acks=all',
    'queue.buffering.max.messages=1000000',
    'linger.ms=500',
  ]
    .map((setting) => `"${setting}"`)
    .join(',');
  return `global(workDirectory="${folder}" maxMessageSize="8k")
module(load="imptcp")
module(load="omkafka")
template(name="asItCame" type="string" string="%rawmsg%")
ruleset(name="toKafka") {
  action(type="omkafka" topic="${topic}" broker=[${brokers}] template="asItCame" resubmitOnFailure="on" action.resumeRetryCount="-1" confParam=[${settings}])
}
input(type="imptcp" path="${socketPath}" unlink="on" ruleset="toKafka")
`;
}

function findProgram(): string | undefined {
  return PROGRAM_FOLDERS.map((folder) => path.join(folder, 'rsyslogd')).find(
    (file) => spawnSync(file, ['-v']).status === 0,
  );
}

function moduleFolder(): string | undefined {
  const nested = LIBRARY_FOLDERS.flatMap((folder) => [
    folder,
    ...namesIn(folder).map((name) => path.join(folder, name)),
  ]);
  return nested
    .map((folder) => path.join(folder, 'rsyslog'))
    .find((folder) => {
      const names = namesIn(folder);
      return names.includes('imptcp.so') && names.includes('omkafka.so');
    });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}
