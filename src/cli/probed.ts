// What came of trying one thing that is configured: a line of `kahe check`.

export interface Probed {
  /** `warning`: it works, or may soon; the exit code stays 0. */
  readonly state: 'ok' | 'warning' | 'failure';
  readonly what: string;
  readonly says: string;
}

export function ok(what: string, says: string): Probed {
  return { state: 'ok', what, says };
}

export function warning(what: string, says: string): Probed {
  return { state: 'warning', what, says };
}

export function failure(what: string, says: string): Probed {
  return { state: 'failure', what, says };
}
