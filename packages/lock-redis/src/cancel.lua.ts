import { queueLua } from './queue.lua.ts'
import { timeLua } from './time.lua.ts'

/**
 * Undoes an acquisition whose caller has given up, also if its request arrives only after this one: leaves the queue, ends the lease, and
 * leaves a tombstone.
 *
 * KEYS 1 lease, 2 queue, 3 waiters, 4 tombstone
 * ARGV 1 owner, 2 prefix of channels, 3 claim in ms, 4 ms that the tombstone lasts
 * Reply 1
 */
export const cancelLua: string = `
local lease, queue, waiters = KEYS[1], KEYS[2], KEYS[3]
local owner, channelPrefix, claimMs = ARGV[1], ARGV[2], tonumber(ARGV[3])
redis.call('SET', KEYS[4], 1, 'PX', ARGV[4])

local function blockedForMs()
  local leftMs = redis.call('PTTL', lease)
  if leftMs ~= -2 then return leftMs end
end
${timeLua}${queueLua}
leave(owner)
if redis.call('HGET', lease, 'owner') == owner then redis.call('DEL', lease) end
if redis.call('EXISTS', queue) == 1 then offer(math.floor(microseconds() / 1000)) end
return 1
`
