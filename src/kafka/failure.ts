// What can go wrong between Kahe and Kafka, and what becomes of the frames then. Nothing is ever dropped for
// an error we don't know.

export type KafkaFailureCode =
  /** No connection, or it broke. */
  | 'CONNECTION'
  /** No answer in time. The connection is given up, for a late answer can't be trusted. */
  | 'TIMEOUT'
  /** The login was refused. */
  | 'AUTH'
  /** The topic does not exist, or this user may not write to it. */
  | 'TOPIC'
  /** The broker is older than Kafka 0.11, or said something we don't understand. */
  | 'PROTOCOL';

export class KafkaFailure extends Error {
  override readonly name = 'KafkaFailure';
  constructor(
    readonly code: KafkaFailureCode,
    message: string,
  ) {
    super(message);
  }
}
