/**
 * Changes a counter, and says how long it is kept when this makes it.
 *
 * KEYS 1 counter
 * ARGV 1 by how much, 2 ttl in ms of a counter that is made now; empty: for ever
 * Reply the new value as text, because not every client reads large numbers exactly; nil when it would leave the safe integers
 */
export const incrementLua = `
local before = redis.call('GET', KEYS[1])
local after = tonumber(before or '0') + tonumber(ARGV[1])
if math.abs(after) > 9007199254740991 then return false end
redis.call('INCRBY', KEYS[1], ARGV[1])
if not before and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return string.format('%.0f', after)
`
