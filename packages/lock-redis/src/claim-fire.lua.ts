import { timeLua } from './time.lua.ts'

/**
 * Claims one fire of a scheduled job. The record keeps the last fire for ever, so that the same one is never claimed twice, however late a node
 * asks.
 *
 * KEYS 1 job: hash `v` format, `last` fire in ms, `owner` unless it is done, `token`, `until` in ms: when the run ends at the latest
 * ARGV 1 owner, 2 fire in ms, 3 ms that the run may take, 4 ms that the fire may be ahead
 * Reply {1, token} run it; {0} claimed before; {2, ms} an earlier fire still runs; {-2, ms} too far ahead of this clock
 */
export const claimFireLua: string = `
local job, owner, fireMs, atMostMs = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
${timeLua}
local nowUs = microseconds()
local nowMs = math.floor(nowUs / 1000)
if fireMs > nowMs + tonumber(ARGV[4]) then return {-2, nowMs} end

local record = redis.call('HMGET', job, 'last', 'owner', 'token', 'until')
local lastMs, untilMs = tonumber(record[1] or '-1'), tonumber(record[4] or '0')
if record[2] == owner and lastMs == fireMs then
  -- A late copy of the request must not shorten what was extended since.
  redis.call('HSET', job, 'until', string.format('%.0f', math.max(untilMs, nowMs + atMostMs)))
  return {1, tonumber(record[3])}
end
if fireMs <= lastMs then return {0} end
if untilMs > nowMs then return {2, untilMs - nowMs} end
local token = math.max(nowUs, tonumber(record[3] or '0') + 1)
redis.call('HSET', job, 'v', 1, 'last', ARGV[2], 'owner', owner, 'token', string.format('%.0f', token), 'until', string.format('%.0f', nowMs + atMostMs))
return {1, token}
`
