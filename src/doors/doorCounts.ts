// What one door counts: all its clients together. Read by whoever reports.

export interface DoorCounts {
  /** Connections that are open, and all there ever were. */
  open: number;
  accepted: number;
  /** Connections for which there was no room: see openFiles.ts. */
  turnedAway: number;
  /** Frames, bad ones too: counted by the entrance. */
  received: number;
  /** Frames with a sane length whose inside makes no sense: counted by the entrance. */
  bad: number;
  /** The same by reason: see BAD_REASONS. */
  readonly badByReason: Map<string, number>;
  /** Questions that were answered. */
  receipts: number;
  /** Questions that wait for their answer. */
  awaited: number;
  /** Connections closed because their framing was lost, or a frame stayed half. */
  lostFraming: number;
  /** Connections that ended in the middle of a frame. */
  cutFrames: number;
}

export function newDoorCounts(): DoorCounts {
  return {
    open: 0,
    accepted: 0,
    turnedAway: 0,
    received: 0,
    bad: 0,
    badByReason: new Map(),
    receipts: 0,
    awaited: 0,
    lostFraming: 0,
    cutFrames: 0,
  };
}
