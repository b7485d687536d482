import { queueLua } from './queue.lua.ts'
import { timeLua } from './time.lua.ts'
import { tokenLua } from './token.lua.ts'

/**
 * Grants the lock if it is free and nobody waits who asked before, mints its token, and answers a repeated request of the same owner with the same
 * grant. Else puts the owner into the queue, if it will wait.
 *
 * KEYS 1 lease: hash `v` format, `owner`, `token`; expires with the lease
 *      2 token: the highest token given out
 *      3 queue, 4 waiters: see {@link queueLua}; they expire a minute after the last one stops waiting
 *      5 tombstone: exists when this owner was cancelled
 * ARGV 1 owner, 2 ttl in ms, 3 ms that it will wait, 4 its channel, 5 prefix of channels, 6 claim in ms, 7 ms to keep tokens
 * Reply {1, token} granted; {0, ms} not for so long, unless told; {-1} cancelled
 */
export const acquireLua: string = `
local lease, tokenKey, queue, waiters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local owner, ttlMs, waitMs = ARGV[1], ARGV[2], tonumber(ARGV[3])
local channelPrefix, claimMs, tokenTtlMs = ARGV[5], tonumber(ARGV[6]), ARGV[7]
-- The usual case costs few commands.
local isFree = redis.call('EXISTS', lease, queue, KEYS[5]) == 0
if not isFree and redis.call('EXISTS', KEYS[5]) == 1 then return {-1} end

${timeLua}${tokenLua}
local nowUs = microseconds()
local nowMs = math.floor(nowUs / 1000)
local function grant()
  local token, text = mint(nowUs)
  redis.call('HSET', lease, 'v', '1', 'owner', owner, 'token', text)
  redis.call('PEXPIRE', lease, ttlMs)
  return {1, token}
end
if isFree then return grant() end

if redis.call('HGET', lease, 'owner') == owner then
  -- A late copy of the request must not shorten what was extended since.
  if redis.call('PTTL', lease) < tonumber(ttlMs) then redis.call('PEXPIRE', lease, ttlMs) end
  return {1, tonumber(redis.call('HGET', lease, 'token'))}
end

local function blockedForMs()
  local leftMs = redis.call('PTTL', lease)
  if leftMs ~= -2 then return leftMs end
end
${queueLua}
local retryMs = blockedForMs()
if not retryMs then
  local first = head(nowMs)
  if not first or first.owner == owner then
    leave(owner)
    return grant()
  end
  if not first.reservedMs then offer(nowMs) end
  retryMs = (first.reservedMs or nowMs + claimMs) - nowMs
end
if waitMs > 0 then enqueue(owner, waitMs, 'write', 1, ARGV[4], nowMs, nowUs) end
return {0, retryMs}
`
