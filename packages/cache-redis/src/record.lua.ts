import { timeLua } from './time.lua.ts'

/**
 * Writes the record of an entry and ends the lease of its key: who makes a value now cannot store it. Layout: see `entry-record.ts`. It is followed by
 * arguments in this order: ttl in ms, grace in ms, versions, data.
 *
 * KEYS 1 entry, 2 lease
 */
export const recordLua: string = `
${timeLua}
local function store(ttlMs, graceMs, versions, data)
  local freshUntilMs = milliseconds() + ttlMs
  local head = struct.pack('>Bdd', 1, freshUntilMs, freshUntilMs + graceMs)
  redis.call('SET', KEYS[1], head .. versions .. data, 'PX', string.format('%.0f', ttlMs + graceMs))
  redis.call('DEL', KEYS[2])
end
`
