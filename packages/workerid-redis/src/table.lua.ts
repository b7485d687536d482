/**
 * What all scripts know of the table of worker ids: one hash, which never expires. Fields: `v` format; `history`, `epoch`, `from`: see below; and for each
 * id `freeAt|nextFloor|token|epoch|since|until|ceiling|floor|owner key`, times in ms, the token empty once released.
 *
 * A server cannot know what it forgot, but it can know that it may have: the hash is missing, or it was written under another replication history,
 * whose id Redis changes whenever a server becomes a master (restart, failover, move of the slot). Then an epoch begins: new windows
 * begin above `from`, which is above all that can have been granted before, and records of earlier epochs may be out of date.
 */
export const tableLua = `
local key = KEYS[1]
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end

local function open(terms, isFirstStart)
  local meta = redis.call('HMGET', key, 'history', 'epoch', 'from')
  local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  if not history then error('INFO replication names no master_replid') end
  if meta[1] == history then return tonumber(meta[2]), tonumber(meta[3]) end
  local epoch, from = tonumber(meta[2] or '0') + 1, 0
  -- The skew, because the clock of the server before may have been ahead of this one.
  if meta[1] or not isFirstStart then
    from = math.max(tonumber(meta[3] or '0'), nowMs + terms.leaseMs + terms.aheadMs + terms.skewMs + 1)
  end
  redis.call('HSET', key, 'v', 1, 'history', history, 'epoch', epoch, 'from', text(from))
  return epoch, from
end

local function parse(record)
  if not record then return nil end
  local freeAt, nextFloor, token, epoch, since, untilMs, ceiling, floor, owner =
    string.match(record, '^(%d+)|(%d+)|(%x*)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')
  return {
    freeAt = tonumber(freeAt), nextFloor = tonumber(nextFloor), token = token, epoch = tonumber(epoch), since = tonumber(since),
    untilMs = tonumber(untilMs), ceiling = tonumber(ceiling), floor = tonumber(floor), owner = owner,
  }
end

local function write(id, r)
  redis.call('HSET', key, id, table.concat({
    text(r.freeAt), text(r.nextFloor), r.token, r.epoch, text(r.since), text(r.untilMs), text(r.ceiling), text(r.floor), r.owner,
  }, '|'))
end

-- Starts the lease anew, with a ceiling that is a lease above what is in use, and never too far above the clock.
local function grow(r, usedMs, clientMs, terms)
  local highest = nowMs + terms.leaseMs + terms.aheadMs
  r.ceiling = math.max(r.ceiling, math.min(math.max(usedMs, clientMs) + terms.leaseMs, highest))
  r.untilMs = nowMs + terms.leaseMs
  r.freeAt, r.nextFloor = r.untilMs + terms.quarantineMs, r.ceiling + terms.quarantineMs + 1
end

local function readTerms(first)
  return {
    leaseMs = tonumber(ARGV[first]), quarantineMs = tonumber(ARGV[first + 1]), skewMs = tonumber(ARGV[first + 2]),
    aheadMs = tonumber(ARGV[first + 3]),
  }
end
`
