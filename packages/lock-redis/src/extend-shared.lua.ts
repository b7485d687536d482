import { sharedHoldersLua } from './shared-holders.lua.ts'
import { timeLua } from './time.lua.ts'

/**
 * As `extend`, for a lock that can be shared.
 *
 * KEYS 1 lease, 2 holders, 3 tokens
 * ARGV 1 owner, 2 ttl in ms
 * Reply 1 extended; 0 the owner has no lease; -1 another one writes
 */
export const extendSharedLua: string = `
local lease, holders, tokens, owner, ttlMs = KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[2])
${timeLua}${sharedHoldersLua}
local writer = redis.call('HGET', lease, 'owner')
if writer == owner then
  if redis.call('PTTL', lease) < ttlMs then redis.call('PEXPIRE', lease, ttlMs) end
  return 1
end
if writer then return -1 end
local nowMs = math.floor(microseconds() / 1000)
forgetExpired(nowMs)
local heldUntilMs = redis.call('ZSCORE', holders, owner)
if not heldUntilMs then return 0 end
hold(owner, math.max(tonumber(heldUntilMs), nowMs + ttlMs), nowMs)
return 1
`
