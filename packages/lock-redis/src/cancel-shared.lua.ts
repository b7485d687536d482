import { queueLua } from './queue.lua.ts'
import { sharedHoldersLua } from './shared-holders.lua.ts'
import { timeLua } from './time.lua.ts'

/**
 * As `cancel`, for a lock that can be shared.
 *
 * KEYS 1 lease, 2 queue, 3 waiters, 4 holders, 5 tokens, 6 tombstone
 * ARGV 1 owner, 2 prefix of channels, 3 claim in ms, 4 ms that the tombstone lasts
 * Reply 1
 */
export const cancelSharedLua: string = `
local lease, queue, waiters, holders, tokens = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local owner, channelPrefix, claimMs = ARGV[1], ARGV[2], tonumber(ARGV[3])
${timeLua}${sharedHoldersLua}${queueLua}
local nowMs = math.floor(microseconds() / 1000)
forgetExpired(nowMs)
redis.call('SET', KEYS[6], 1, 'PX', ARGV[4])
leave(owner)
forget(owner)
if redis.call('HGET', lease, 'owner') == owner then redis.call('DEL', lease) end
offer(nowMs)
return 1
`
