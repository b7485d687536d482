import { queueLua } from './queue.lua.ts'
import { sharedHoldersLua } from './shared-holders.lua.ts'
import { timeLua } from './time.lua.ts'
import { tokenLua } from './token.lua.ts'

/**
 * As `acquire`, for a lock that can be shared. Those who read at the same time have the same token: that of the first of them.
 *
 * KEYS 1 lease, 2 token, 3 queue, 4 waiters, 5 tombstone: as for `acquire`; 6 holders, 7 tokens: see {@link sharedHoldersLua}
 * ARGV 1 owner, 2 ttl in ms, 3 ms that it will wait, 4 its channel, 5 prefix of channels, 6 claim in ms, 7 ms to keep tokens,
 *      8 mode: write, read or permit, 9 permits
 * Reply as `acquire`
 */
export const acquireSharedLua: string = `
local lease, tokenKey, queue, waiters, holders, tokens = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6], KEYS[7]
local owner, ttlMs, waitMs = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local channelPrefix, claimMs, tokenTtlMs = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local mode, permits = ARGV[8], tonumber(ARGV[9])
if redis.call('EXISTS', KEYS[5]) == 1 then return {-1} end
${timeLua}${tokenLua}${sharedHoldersLua}${queueLua}
local nowUs = microseconds()
local nowMs = math.floor(nowUs / 1000)
forgetExpired(nowMs)

local function grant()
  local token
  if mode == 'read' then
    -- Not the last token of the lock: that one may be forgotten while they still read.
    local beside = redis.call('ZRANGE', holders, 0, 0)[1]
    token = beside and tonumber(redis.call('HGET', tokens, beside))
  end
  token = token or mint(nowUs)
  local text = string.format('%.0f', token)
  if mode == 'write' then
    redis.call('HSET', lease, 'v', 1, 'owner', owner, 'token', text)
    redis.call('PEXPIRE', lease, ttlMs)
  else
    redis.call('HSET', tokens, owner, text)
    hold(owner, nowMs + ttlMs, nowMs)
  end
  offer(nowMs)
  return {1, token}
end

-- A late copy of the request must not shorten what was extended since.
if redis.call('HGET', lease, 'owner') == owner then
  if redis.call('PTTL', lease) < ttlMs then redis.call('PEXPIRE', lease, ttlMs) end
  return {1, tonumber(redis.call('HGET', lease, 'token'))}
end
local heldUntilMs = redis.call('ZSCORE', holders, owner)
if heldUntilMs then
  hold(owner, math.max(tonumber(heldUntilMs), nowMs + ttlMs), nowMs)
  return {1, tonumber(redis.call('HGET', tokens, owner))}
end

local retryMs = blockedForMs(mode, permits, nowMs)
local first = head(nowMs)
if not retryMs then
  if not first or first.owner == owner then
    leave(owner)
    return grant()
  end
  if not first.reservedMs then offer(nowMs) end
  retryMs = (first.reservedMs or nowMs + claimMs) - nowMs
end
if waitMs > 0 then enqueue(owner, waitMs, mode, permits, ARGV[4], nowMs, nowUs) end
return {0, retryMs}
`
