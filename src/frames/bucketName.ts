// A bucket's name, between the bytes of a frame and the text of the configuration.
/** The bytes of a bucket's name, one character a byte (latin1), so that any name is a key without loss. */
export type BucketKey = string;

/** The key of a name in the configuration. */
export function keyOf(name: string): BucketKey {
  return Buffer.from(name).toString('latin1');
}

/** The name as people read it; two keys that are not refused never share one. */
export function bucketName(key: BucketKey): string {
  return Buffer.from(key, 'latin1').toString();
}

/** Kafka's rule for the names of topics: org.apache.kafka.common.internals.Topic. */
export function isTopicName(name: string): boolean {
  return /^[a-zA-Z0-9._-]{1,249}$/.test(name) && name !== '.' && name !== '..';
}

/** That rule in words. */
export const TOPIC_RULE = '1 to 249 of a-z A-Z 0-9 . _ -';

/** Why no bucket can have this name, if none can. */
export function refuseName(key: BucketKey, feedsKafka: boolean): string | undefined {
  if (keyOf(bucketName(key)) !== key) return 'the bucket name is not UTF-8';
  if (!feedsKafka) return undefined;
  return isTopicName(key) ? undefined : `the bucket name is no valid topic: ${TOPIC_RULE}`;
}
