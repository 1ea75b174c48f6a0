// A bucket as the daemon runs it: its actor, and what outlives that should it fail. It lives under its name
// until it ends; then the next one begins with the same record.
import type { ActorContext, ActorRef } from '../actors/actor.js';
import { bucketChange } from '../config/changes.js';
import { type BucketKey, bucketName } from '../frames/bucketName.js';
import { Bucket, type BucketOptions } from './bucket.js';
import type { BucketMaker, BucketParts } from './bucketMaker.js';
import type { BucketPlaces, Place } from './bucketPlaces.js';
import { type BucketRecord, accountsOf } from './bucketRecord.js';
import type { RoutedBucket } from './bucketRouter.js';
import type { BucketMessage, BucketSettings, RouterMessage } from './messages.js';

/** A bucket made on demand that had nothing to do for one to two of these ends. */
const IDLE_MS = 60_000;

export class LiveBucket implements RoutedBucket {
  readonly ref: ActorRef<BucketMessage>;
  readonly #maker: BucketMaker;
  readonly #record: BucketRecord;
  #place: Place;
  /** Made once: they outlive a bucket that fails. */
  #lasting: BucketParts | undefined;
  /** Resolves when it goes on as its place says. */
  #taken: Promise<void> = Promise.resolve();

  constructor(context: ActorContext<RouterMessage>, key: BucketKey, place: Place, maker: BucketMaker) {
    const name = bucketName(key);
    this.#maker = maker;
    this.#place = place;
    this.#record = maker.parts.records.of(name);
    this.#record.isOnDemand = place.isOnDemand;
    // A slash in a name makes no step of the path that is the log's.
    this.ref = context.spawn<BucketMessage>(`bucket.${name.replaceAll('/', '\\x2f')}`, (inner) => {
      this.#lasting ??= maker.lastingParts(inner, key, this.#place, this.#record);
      const options: BucketOptions = {
        ...maker.parts,
        ...this.#settings,
        key,
        name,
        router: context.self,
      };
      return new Bucket(inner, options, this.#lasting);
    });
  }

  reconfigure(place: Place): Promise<void> {
    const change = bucketChange(this.#place, place);
    const isMoved = place.isOnDemand !== this.#place.isOnDemand;
    if (change === undefined && !isMoved) {
      this.#place = place;
      return this.#taken;
    }
    // Before it counts as changed: a router that fails on this comes with the same place again.
    const parts = this.#maker.changedParts(this.#record, place, change, this.ref.path);
    this.#place = place;
    this.#record.isOnDemand = place.isOnDemand;
    return (this.#taken = new Promise((resolve, reject) => {
      const onTaken = (error?: Error): void => (error === undefined ? resolve() : reject(error));
      this.ref.tell({ kind: 'reconfigure', settings: this.#settings, ...parts, onTaken });
    }));
  }

  takeOut(): void {
    this.#lasting?.streams.takeOut();
  }

  isAtRest(places: BucketPlaces): boolean {
    return accountsOf(this.#record).every(
      ([{ id }, { queued, backedUp }]) => queued === 0 && (backedUp === 0 || !places.replaysByItself(id)),
    );
  }

  forget(): void {
    const { records, shutdown } = this.#maker.parts;
    // At the daemon's end all are told of, each for itself.
    if (this.#place.isOnDemand && !shutdown.hasBegun) records.ended(this.#record.name);
  }

  get #settings(): BucketSettings {
    const { bucket, isOnDemand } = this.#place;
    return { ...bucket, idleMs: isOnDemand ? IDLE_MS : undefined };
  }
}
