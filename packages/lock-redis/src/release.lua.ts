import { queueLua } from './queue.lua.ts'
import { timeLua } from './time.lua.ts'

/**
 * Ends the lease if it is still the owner's, and offers the lock to the first who waits.
 *
 * KEYS 1 lease, 2 queue, 3 waiters
 * ARGV 1 owner, 2 prefix of channels, 3 claim in ms
 * Reply 1 released; 0 there was no lease; -1 it is another owner's
 */
export const releaseLua: string = `
local queue, waiters, channelPrefix, claimMs = KEYS[2], KEYS[3], ARGV[2], tonumber(ARGV[3])
local holder = redis.call('HGET', KEYS[1], 'owner')
if not holder then return 0 end
if holder ~= ARGV[1] then return -1 end
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', queue) == 0 then return 1 end

local function blockedForMs() return nil end
${timeLua}${queueLua}
offer(math.floor(microseconds() / 1000))
return 1
`
