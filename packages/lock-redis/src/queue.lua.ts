/**
 * The queue of waiters, which the scripts of all kinds of locks share. Nobody passes a waiter who asked before; what becomes free is *reserved*
 * for the first one, who is told and must claim it within `claimMs`: so a waiter that is frozen or dead costs the others no more than that.
 *
 * Needs locals `queue` (zset: owners in the order in which they asked), `waiters` (hash: owner -> `until:mode:permits:channel`, and the reservation
 * as `#owner` and `#until`), `channelPrefix`, `claimMs`, and a function `blockedForMs(mode, permits, nowMs)`: nil when such a waiter could be
 * granted now, else how long not. Owners do not begin with `#`.
 */
export const queueLua = `
local function leave(owner)
  if redis.call('ZREM', queue, owner) == 0 then return end
  redis.call('HDEL', waiters, owner)
  if redis.call('HGET', waiters, '#owner') == owner then redis.call('HDEL', waiters, '#owner', '#until') end
end

local function waiter(owner)
  local ends, mode, permits, channel = string.match(redis.call('HGET', waiters, owner) or '', '^(%d+):(%a+):(%d+):(.*)$')
  return ends and {owner = owner, endsMs = tonumber(ends), mode = mode, permits = tonumber(permits), channel = channel}
end

-- Forgets those who do not wait any more, and one who did not come for what was reserved.
local function head(nowMs)
  while true do
    local owner = redis.call('ZRANGE', queue, 0, 0)[1]
    if not owner then return nil end
    local first = waiter(owner)
    local reserved = redis.call('HMGET', waiters, '#owner', '#until')
    local reservedMs = reserved[1] == owner and tonumber(reserved[2]) or nil
    if first and first.endsMs > nowMs and not (reservedMs and reservedMs <= nowMs) then
      first.reservedMs = reservedMs
      return first
    end
    leave(owner)
  end
end

local function enqueue(owner, waitMs, mode, permits, channel, nowMs, nowUs)
  if not redis.call('ZSCORE', queue, owner) then
    local last = tonumber(redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')[2] or '0')
    redis.call('ZADD', queue, string.format('%.0f', math.max(nowUs, last + 1)), owner)
  end
  redis.call('HSET', waiters, owner, string.format('%.0f:%s:%d:%s', nowMs + waitMs, mode, permits, channel))
  local keepMs = waitMs + 60000
  if redis.call('PTTL', waiters) < keepMs then
    redis.call('PEXPIRE', waiters, keepMs)
    redis.call('PEXPIRE', queue, keepMs)
  end
end

local function tell(word, to)
  redis.call('PUBLISH', channelPrefix .. to.channel, word .. ' ' .. to.owner)
end

-- Reserves for the first waiter what is free for it, and tells it; the second is told to look after the first one's time.
local function offer(nowMs)
  local first = head(nowMs)
  if not first or first.reservedMs or blockedForMs(first.mode, first.permits, nowMs) then return end
  redis.call('HSET', waiters, '#owner', first.owner, '#until', string.format('%.0f', nowMs + claimMs))
  tell('go', first)
  local owner = redis.call('ZRANGE', queue, 1, 1)[1]
  local second = owner and waiter(owner)
  if second then tell('standby', second) end
end
`
