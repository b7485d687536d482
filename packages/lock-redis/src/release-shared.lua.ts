import { queueLua } from './queue.lua.ts'
import { sharedHoldersLua } from './shared-holders.lua.ts'
import { timeLua } from './time.lua.ts'

/**
 * As `release`, for a lock that can be shared.
 *
 * KEYS 1 lease, 2 queue, 3 waiters, 4 holders, 5 tokens
 * ARGV 1 owner, 2 prefix of channels, 3 claim in ms
 * Reply 1 released; 0 the owner has no lease; -1 another one writes
 */
export const releaseSharedLua: string = `
local lease, queue, waiters, holders, tokens = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local owner, channelPrefix, claimMs = ARGV[1], ARGV[2], tonumber(ARGV[3])
${timeLua}${sharedHoldersLua}${queueLua}
local nowMs = math.floor(microseconds() / 1000)
forgetExpired(nowMs)
local writer = redis.call('HGET', lease, 'owner')
if writer == owner then redis.call('DEL', lease)
elseif writer then return -1
elseif forget(owner) == 0 then return 0 end
offer(nowMs)
return 1
`
