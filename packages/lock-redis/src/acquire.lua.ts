/**
 * Grants the lock if it is free, mints its token, and answers a repeated request of the same owner with the same grant.
 *
 * KEYS 1 lease: hash `v` format, `owner`, `token`; expires with the lease
 *      2 token: the highest token given out; expires an hour after it is no longer ahead of the clock
 *      3 tombstone: exists when this owner was cancelled
 * ARGV 1 owner, 2 ttl in ms
 * Reply {1, token} granted; {0, ms} held by another for so long; {-1} cancelled
 *
 * A token is the server's time in microseconds, or one more than the last: it grows also where the last one was
 * forgotten, after a flush or on a replica that missed it, as long as the server's clock does not go back.
 */
export const acquireLua = `
if redis.call('EXISTS', KEYS[3]) == 1 then return {-1} end
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, tonumber(redis.call('HGET', KEYS[1], 'token'))}
end
if owner then return {0, redis.call('PTTL', KEYS[1])} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local token = math.max(now, tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
local text = string.format('%.0f', token)
redis.call('SET', KEYS[2], text, 'PX', 3600000 + math.ceil((token - now) / 1000))
redis.call('HSET', KEYS[1], 'v', 1, 'owner', ARGV[1], 'token', text)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, token}
`
