/**
 * Who holds a lock that can be shared: one to write, or several to read or with a permit each.
 *
 * Needs locals `lease` (hash `v` format, `owner`, `token` of a writer; expires with the lease), `holders` (zset: owner -> when its lease ends, ms),
 * `tokens` (hash: owner -> token). Both last as long as the last lease in them.
 */
export const sharedHoldersLua = `
local function forget(owner)
  redis.call('HDEL', tokens, owner)
  return redis.call('ZREM', holders, owner)
end

local function forgetExpired(nowMs)
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', holders, '-inf', nowMs)) do forget(owner) end
end

local function hold(owner, untilMs, nowMs)
  redis.call('ZADD', holders, untilMs, owner)
  local keepMs = untilMs - nowMs + 1000
  if redis.call('PTTL', holders) < keepMs then
    redis.call('PEXPIRE', holders, keepMs)
    redis.call('PEXPIRE', tokens, keepMs)
  end
end

-- nil when such a one can be granted now, else how long not, in ms.
local function blockedForMs(mode, permits, nowMs)
  local leftMs = redis.call('PTTL', lease)
  if leftMs ~= -2 then return leftMs end
  local first = redis.call('ZRANGE', holders, 0, 0, 'WITHSCORES')
  if not first[1] or mode == 'read' then return nil end
  if mode == 'permit' and redis.call('ZCARD', holders) < permits then return nil end
  return math.max(1, tonumber(first[2]) - nowMs)
end
`
