// The Kafka that the whole suite shares, as tests of the daemon meet it: behind a door that is shut as long
// as the test says so, or not there at all; and what it has been given.
import { inject, onTestFinished } from 'vitest';
import { kafkaStream } from './daemonBuckets.js';
import { numbersBySender } from './daemonFrames.js';
import { freePorts } from './freePorts.js';
import { allMessages, readTopic, type Message } from './kafkaReader.js';
import { startProxy, type TcpProxy } from './tcpProxy.js';

export async function startProxiedKafka(): Promise<TcpProxy> {
  const { bootstrap } = inject('kafka');
  const proxy = await startProxy({ target: { port: Number(bootstrap.split(':')[1]) } });
  onTestFinished(() => proxy.close());
  return proxy;
}

/** Who starts from the proxy learns of the broker only once the door is open. */
export async function startShutKafka(): Promise<TcpProxy> {
  const proxy = await startProxiedKafka();
  proxy.faults.refuse = true;
  return proxy;
}

/** A stream to a Kafka that is not there. */
export async function kafkaAway(more: { readonly backup?: object } = {}, timeoutMs = 200): Promise<object> {
  const [port] = await freePorts(1);
  return kafkaStream(`127.0.0.1:${port}`, { 'message.timeout.ms': timeoutMs }, more);
}

/** The numbers of each sender's messages in a topic, in their order. */
export async function numbersInTopic(topic: string, expected?: number): Promise<Map<string, number[]>> {
  const found = await readTopic(inject('kafka').bootstrap, topic, expected === undefined ? {} : { expected });
  return numbersOf(allMessages(found));
}

export function numbersOf(messages: readonly Message[]): Map<string, number[]> {
  return numbersBySender(messages.map(({ value }) => value!.toString()));
}
