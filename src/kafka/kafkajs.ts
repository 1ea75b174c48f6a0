// The part of kafkajs that is used, typed by hand: its types cover the public API alone. The only file that
// imports it. kafkajs 2.2.4 is no longer maintained, and pinned; what goes wrong in it, and where that is
// guarded: docs/kafkajs-traps.md.
import { createRequire } from 'node:module';
import type * as net from 'node:net';

export interface RequestHead {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly apiName: string;
}
export interface Protocol {
  readonly request: RequestHead;
  readonly response: { decode(raw: Buffer): Promise<unknown>; parse(decoded: unknown): Promise<unknown> };
}
export interface VersionRange {
  readonly minVersion: number;
  readonly maxVersion: number;
}
export type ApiVersions = Readonly<Record<number, VersionRange>>;
export interface Definitions {
  protocol(choice: { version: number }): (args: object) => Protocol;
}
export type Lookup = (apiKey: number, definitions: Definitions) => (args: object) => Protocol;
export interface RequestQueue {
  readonly pending: readonly unknown[];
  push(request: object): void;
  rejectAll(error: Error): void;
  destroy(): void;
  maybeThrottle(throttleMs: number | null): void;
  scheduleCheckPendingRequests(): void;
}
export interface Connection {
  connectionStatus: string;
  readonly requestQueue: RequestQueue;
  connect(): Promise<unknown>;
  authenticate(): Promise<void>;
  isAuthenticated(): boolean;
  processData(data: Buffer): void;
  send(exchange: Protocol): Promise<unknown>;
  nextCorrelationId(): number;
  setVersions(versions: ApiVersions): void;
  setSupportAuthenticationProtocol(isSupported: boolean): void;
}
export interface RawMetadata {
  readonly brokers: readonly { nodeId: number; host: string; port: number }[];
  readonly topicMetadata: readonly {
    topic: string;
    topicErrorCode: number;
    partitionMetadata: readonly { partitionId: number; leader: number }[];
  }[];
}
export interface ConnectionOptions {
  readonly socketFactory: (options: { onConnect: () => void }) => net.Socket;
  readonly [option: string]: unknown;
}

const require = createRequire(import.meta.url);
export const kafkajs = {
  Connection: require('kafkajs/src/network/connection') as new (options: ConnectionOptions) => Connection,
  requests: (require('kafkajs/src/protocol/requests') as { requests: Record<string, Definitions> }).requests,
  lookup: (require('kafkajs/src/protocol/requests') as { lookup: (versions: ApiVersions) => Lookup }).lookup,
  apiKeys: require('kafkajs/src/protocol/requests/apiKeys') as Record<string, number>,
  createLogger: (require('kafkajs/src/loggers') as { createLogger: (options: object) => unknown })
    .createLogger,
  LOG_EVERYTHING: 5,
  LOG_NOTHING: 0,
};
