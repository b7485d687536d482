import { logLua } from './log.lua.ts'

/**
 * What a node does every three seconds, in one round trip: says that it is there, asks who else is and where the log ends, and has its own last
 * sequence compared: an end of the log that was lost must be known also when nobody publishes.
 *
 * KEYS 1 log, 2 meta: see {@link logLua}; 3 seen: sorted set of sources by when they were seen last; 4 nodes: hash of sources, what is known of them
 * ARGV 1 source, 2 what is known of it, 3 ms after which a node counts as dead, 4 ms after which it is forgotten, 5 last accepted sequence, 6 the epoch
 *      in which it was, 7 longest log, 8 name for a new epoch, 9 how many ms ago that one was sent
 * Reply {clock in ms, epoch, last number, id of the last entry, then for each node: what is known of it}
 */
export const tickLua: string = `
${logLua}
local seen, nodes, source, accepted = KEYS[3], KEYS[4], ARGV[1], tonumber(ARGV[5])
local clockMs = nowMs()
local epoch, number = open(ARGV[8])
-- Somebody removed the log alone: a reader that had not read all of it would wait for ever.
local isLost = number > 0 and headId() == '0-0'
if tonumber(redis.call('HGET', meta, 'p:' .. source) or '0') < accepted and not isCovered(epoch, ARGV[6], ARGV[9]) then
  isLost = true
  redis.call('HSET', meta, 'p:' .. source, accepted)
end
if isLost then
  epoch = begin(ARGV[8])
  -- So that all readers hear of it now.
  number = append(epoch, number, ARGV[7], source, 0, '', '')
end

local forgotten = redis.call('ZRANGEBYSCORE', seen, '-inf', clockMs - tonumber(ARGV[4]))
for _, each in ipairs(forgotten) do
  redis.call('HDEL', meta, 'p:' .. each)
  redis.call('HDEL', nodes, each)
  redis.call('ZREM', seen, each)
end
redis.call('ZADD', seen, clockMs, source)
local known = string.gsub(ARGV[2], '"sinceMs":0', '"sinceMs":' .. string.format('%.0f', clockMs), 1)
if redis.call('HSETNX', nodes, source, known) == 1 then
  number = append(epoch, number, ARGV[7], source, 0, '', '')
end

local reply = {clockMs, epoch, number, headId()}
local alive = redis.call('ZRANGEBYSCORE', seen, clockMs - tonumber(ARGV[3]), '+inf')
for _, each in ipairs(alive) do
  local node = redis.call('HGET', nodes, each)
  if node then reply[#reply + 1] = node end
end
return reply
`
