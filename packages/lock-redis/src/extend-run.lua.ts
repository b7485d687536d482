import { timeLua } from './time.lua.ts'

/**
 * Lets the run of a job go on for so long from now at least, or ends it.
 *
 * KEYS 1 job
 * ARGV 1 owner, 2 ms from now; 0 ends it
 * Reply 1 done; 0 the run had ended; -1 another one runs it
 */
export const extendRunLua: string = `
${timeLua}
local nowMs = math.floor(microseconds() / 1000)
local record = redis.call('HMGET', KEYS[1], 'owner', 'until')
if tonumber(record[2] or '0') <= nowMs then return 0 end
if record[1] ~= ARGV[1] then return -1 end
if ARGV[2] == '0' then
  -- A late copy of the claim must not begin the run again.
  redis.call('HDEL', KEYS[1], 'owner')
  redis.call('HSET', KEYS[1], 'until', '0')
else
  local untilMs = math.max(tonumber(record[2]), nowMs + tonumber(ARGV[2]))
  redis.call('HSET', KEYS[1], 'until', string.format('%.0f', untilMs))
end
return 1
`
