// `bootstrap.servers`: "host:port,…" as librdkafka reads it. Promise: each broker has a host and a port that
// can be dialled.
import { isIPv6 } from 'node:net';
import { ConfigError } from '../../errors.js';
import { describeValue } from '../values.js';

export interface KafkaBroker {
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

const DEFAULT_PORT = 9092;
const BROKER = /^(?:([a-z_]+):\/\/)?(?:\[([0-9a-f:.]+)\]|([\w.-]{1,253}))(?::(\d{1,5}))?$/i;

/**
 * Reads "kafka1:9092, kafka2, [::1]:9093, SASL_SSL://kafka3:9093"; the port is 9092 when none is given.
 * @param protocol the stream's `security.protocol`, which a protocol in front of a broker may only repeat.
 * @throws ConfigError that shows the broker that is wrong.
 */
export function parseBrokers(value: unknown, protocol: string): KafkaBroker[] {
  if (typeof value !== 'string')
    throw new ConfigError(`${describeValue(value)} is not a list of brokers ("kafka1:9092,kafka2:9092")`);
  const items = value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
  if (items.length === 0)
    throw new ConfigError(`${describeValue(value)} names no broker ("kafka1:9092,kafka2:9092")`);
  return items.map((item) => parseBroker(item, protocol));
}

function parseBroker(item: string, protocol: string): KafkaBroker {
  const [, prefix, ipv6, name, digits] = BROKER.exec(item) ?? [];
  const host = ipv6 ?? name;
  const port = digits === undefined ? DEFAULT_PORT : Number(digits);
  if (host === undefined || (ipv6 !== undefined && !isIPv6(ipv6)) || port < 1 || port > 65_535) {
    throw new ConfigError(
      `${describeValue(item)} is not a broker; write host:port or [IPv6]:port, commas between brokers`,
    );
  }
  if (prefix !== undefined && prefix.toLowerCase() !== protocol) {
    throw new ConfigError(`${describeValue(item)} is not what security.protocol says: ${protocol}`);
  }
  return { host, port };
}
