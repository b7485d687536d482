import { tableLua } from './table.lua.ts'

/**
 * Gives an id back: the next window begins above the highest timestamp that was used.
 *
 * KEYS 1 the table: see {@link tableLua}
 * ARGV 1 token, 2 id, 3 highest timestamp used
 * Reply 1 released; 0 the id was not this token's
 */
export const releaseLua: string = `
${tableLua}
local r = parse(redis.call('HGET', key, ARGV[2]))
if not r or r.token ~= ARGV[1] then return 0 end
r.token, r.untilMs, r.freeAt, r.nextFloor = '', nowMs, nowMs, math.max(0, tonumber(ARGV[3]) + 1)
write(ARGV[2], r)
return 1
`
