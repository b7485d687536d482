import type { DatabaseSync } from 'node:sqlite'

/** One turn of the clean-up, as the node wrote it down that had it. */
export interface CleanUpEntry {
  /** When the turn was due: its identity. */
  readonly scheduledAt: Date
  readonly node: string
  readonly token: number
  /** How many files it removed. */
  readonly removed: number
}

/** Which node did which clean-up. The table has no unique key: a turn that ran twice would be there twice. */
export class CleanUpLog {
  readonly #database: DatabaseSync

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  add({ scheduledAt, node, token, removed }: CleanUpEntry): void {
    this.#database
      .prepare('INSERT INTO clean_ups (scheduled_at_ms, node, token, removed) VALUES (?, ?, ?, ?)')
      .run(scheduledAt.getTime(), node, token, removed)
  }

  last(): CleanUpEntry | undefined {
    const row = this.#database.prepare('SELECT * FROM clean_ups ORDER BY token DESC LIMIT 1').get()
    return (
      row && {
        scheduledAt: new Date(Number(row['scheduled_at_ms'])),
        node: String(row['node']),
        token: Number(row['token']),
        removed: Number(row['removed']),
      }
    )
  }
}
