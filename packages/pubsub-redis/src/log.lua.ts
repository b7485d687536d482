/**
 * What all scripts know of a log, whose keys are in one slot:
 * - `log`: a stream; each entry has a head `h` and the data `d`. The head is its number, the epoch, the source, the source's sequence and the topic, with a space between
 *   each two: a field for each would cost its readers more than all else. An entry without a topic says that a node came or went.
 * - `meta`: hash `v` format, `epoch`, `since` when it began, `last` number, and for each source the last sequence that was accepted (`p:<source>`).
 *
 * Numbers have no holes, so that a reader sees what was trimmed; ids of the stream are times, so that it goes on after the log was lost. The epoch
 * changes when the log was lost, or its end: then all readers must hear of a gap.
 */
export const logLua = `
local log, meta = KEYS[1], KEYS[2]

local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function begin(newEpoch)
  redis.call('HSET', meta, 'epoch', newEpoch, 'since', nowMs())
  return newEpoch
end

-- The epoch and the last number; a new epoch where there is none.
local function open(newEpoch)
  local found = redis.call('HMGET', meta, 'epoch', 'last')
  if found[1] then return found[1], tonumber(found[2]) end
  -- What may be there is of another epoch, and its numbers would not fit.
  redis.call('XTRIM', log, 'MAXLEN', 0)
  redis.call('HSET', meta, 'v', 1, 'last', 0)
  return begin(newEpoch), 0
end

-- Whether all readers have heard of a gap since something was sent that was accepted in that epoch. Not if it was sent later than this epoch began, to
-- a master that had been replaced already.
local function isCovered(epoch, acceptedEpoch, sentAgoMs)
  if epoch == acceptedEpoch then return false end
  return nowMs() - tonumber(sentAgoMs) < tonumber(redis.call('HGET', meta, 'since') or '0')
end

-- After the entry with this number. First what a missing right or full memory would refuse: then nothing was written.
local function append(epoch, number, maxLength, source, sequence, topic, data)
  redis.call('XADD', log, 'MAXLEN', '~', maxLength, '*', 'h', table.concat({number + 1, epoch, source, sequence, topic}, ' '), 'd', data)
  if sequence > 0 then redis.call('HSET', meta, 'last', number + 1, 'p:' .. source, sequence)
  else redis.call('HSET', meta, 'last', number + 1) end
  return number + 1
end

local function numberOf(entry)
  return entry and tonumber(string.match(entry[2][2], '^%d+'))
end

local function headId()
  local head = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  return head[1] and head[1][1] or '0-0'
end
`
