/**
 * The timestamps that belong to one holder of a worker id, for the one generator that claimed them. An id with a timestamp from `floor()` to
 * `ceiling()` is this holder's for ever, so nothing has to happen in time: one comparison before each new timestamp is all.
 * Times are in ms since 1970. A tick that is longer than a millisecond belongs to the window that contains its start.
 */
export interface TimestampWindow {
  /** The first timestamp that may be used. May rise later, when the backend lost what it knew. */
  floor(): number
  /**
   * The last one that may be used now; rises with each renewal, and stands still while there is none.
   * @throws `LOST` when another may have the id, `NOT_OWNED` after the release
   */
  ceiling(): number
  /** To be told before the first id with this timestamp is given out: the next holder starts above it. */
  used(timestampMs: number): void
}
