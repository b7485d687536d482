import { timeLua } from './time.lua.ts'

/**
 * Writes the record of an entry and ends the lease of its key: who makes a value now cannot store it. Layout: see `entry-record.ts`. What comes when its caller has
 * been told that it failed is not written: it could come after a newer value, or after a delete.
 *
 * KEYS 1 entry, 2 lease
 * ARGV 1 ttl in ms, 2 grace in ms, 3 versions, 4 data, 5 the server's time in ms from which on it is too late; empty: never
 * Reply 1 stored, -1 too late
 */
export const recordLua: string = `
${timeLua}
local function store()
  local nowMs = milliseconds()
  if ARGV[5] ~= '' and nowMs >= tonumber(ARGV[5]) then return -1 end
  local freshUntilMs = nowMs + tonumber(ARGV[1])
  local head = struct.pack('>Bdd', 1, freshUntilMs, freshUntilMs + tonumber(ARGV[2]))
  redis.call('SET', KEYS[1], head .. ARGV[3] .. ARGV[4], 'PX', string.format('%.0f', math.ceil(ARGV[1] + ARGV[2])))
  redis.call('DEL', KEYS[2])
  return 1
end
`
