/** What is sent: who did, and when. */
export interface Mark {
  readonly from: string
  readonly sentAtMs: number
  readonly padding: string
}

/** A node that publishes, and hears what the others publish. */
export interface PubSubParty extends AsyncDisposable {
  /** Resolves when the server has it. */
  publish(mark: Mark): Promise<unknown>
}

/** Resolves when nothing that is published from now on is missed. Own marks may be heard, too. */
export type JoinParty = (url: string, hear: (mark: Mark) => void) => Promise<PubSubParty>

/** The same for all processes of a machine. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

const markBytes = 190

/** With the size in JSON that signals have in the bench. */
export function markOf(from: string): Mark {
  const mark = { from, sentAtMs: machineMs(), padding: '' }
  return { ...mark, padding: 'x'.repeat(Math.max(0, markBytes - JSON.stringify(mark).length)) }
}
