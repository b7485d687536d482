/** A call as its work sees it. */
export interface RunningCall {
  /** Whether its caller has an answer, for example that its time is over: what is sent now could undo what was done since. */
  readonly isOver: boolean
}
