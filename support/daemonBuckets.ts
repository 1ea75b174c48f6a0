// Pieces of buckets.json for tests, and topics to go with them.
import { createTopic } from './kafkaTopics.js';

type Settings = Readonly<Record<string, string | number | boolean>>;

/** A file stream into a folder beside buckets.json. */
export function fileStream(folder: string, settings: Settings = {}): object {
  return {
    type: 'file',
    settings: { path: folder, fileNameTemplate: '{bucket}{PS}{ts}.bckstm', ...settings },
  };
}

/** A backup that only an operator replays, so that a test finds in it all that went there. */
export function manualBackup(folder: string, settings: Settings = {}): object {
  return { ...fileStream(folder, settings), replay: 'manual' };
}

/** A Kafka stream; without `message.timeout.ms` it tries for 10 s before it has failed. */
export function kafkaStream(
  bootstrap: string,
  settings: Settings = {},
  more: { readonly backup?: object; readonly slice?: number } = {},
): object {
  return { type: 'kafka', settings: { 'bootstrap.servers': bootstrap, ...settings }, ...more };
}

let made = 0;

/** Makes a topic that no other test has. */
export async function newTopic(bootstrap: string, about: string, partitions = 1): Promise<string> {
  const topic = newTopicName(about);
  await createTopic([bootstrap], topic, { partitions });
  return topic;
}

/** A name that no topic has. */
export function newTopicName(about: string): string {
  return `daemon-${about}-${process.pid}-${++made}`;
}
