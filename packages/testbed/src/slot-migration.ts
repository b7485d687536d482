import type { RedisServer } from './redis-server.ts'

export interface MigrationOptions {
  /**
   * Called when half of the slot's keys are at their new place and half at the old one: clients are sent to
   * and fro with ASK, and commands on keys of both halves get TRYAGAIN. The move ends also when this throws.
   */
  readonly midway?: () => void | Promise<void>
}

export interface Migration {
  readonly slot: number
  readonly from: RedisServer
  readonly to: RedisServer
  /** All that run, among them from and to. */
  readonly masters: readonly RedisServer[]
  readonly password: string | undefined
}

/** Moves a slot and its keys the way redis-cli does. */
export async function migrateSlot(migration: Migration, { midway }: MigrationOptions): Promise<void> {
  const { slot, from, to, masters } = migration
  const fromId = String(await from.cli('CLUSTER', 'MYID'))
  const toId = String(await to.cli('CLUSTER', 'MYID'))
  // In this order: a client that is told ASK must be welcome at the other side.
  await to.cli('CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', fromId)
  await from.cli('CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', toId)
  try {
    const keyCount = Number(await from.cli('CLUSTER', 'COUNTKEYSINSLOT', String(slot)))
    await moveKeys(migration, Math.floor(keyCount / 2))
    await midway?.()
  } finally {
    // It ends: the old owner sends clients with new keys to the new one.
    let moved: number
    do moved = await moveKeys(migration, 100)
    while (moved > 0)
    // The new owner first, so that the slot is never without one.
    for (const master of [to, from, ...masters.filter((each) => each !== to && each !== from)])
      await master.cli('CLUSTER', 'SETSLOT', String(slot), 'NODE', toId)
  }
}

/** Returns how many it moved. */
async function moveKeys({ slot, from, to, password }: Migration, maxCount: number): Promise<number> {
  const reply = await from.cli('CLUSTER', 'GETKEYSINSLOT', String(slot), String(maxCount))
  const keys = Array.isArray(reply) ? reply.map(String) : []
  if (keys.length === 0) return 0
  const login = password === undefined ? [] : ['AUTH', password]
  await from.cli('MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', ...login, 'KEYS', ...keys)
  return keys.length
}
