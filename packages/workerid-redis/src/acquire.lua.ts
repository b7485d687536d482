import { tableLua } from './table.lua.ts'

/**
 * Takes a free id, and answers a repeated request of the same token with the same grant. Which one: see `WorkerIdDriver.acquire`.
 *
 * KEYS 1 the table: see {@link tableLua}
 * ARGV 1 token, 2 owner key, 3 clock of the node, 4 lease, 5 quarantine, 6 most skew, 7 most ahead, all in ms, 8 range, 9 preferred id or -1, 10 first
 *      start 1 or 0
 * Reply {1, id, floor, ceiling, until, clock} granted; {0, ms} none is free for so long; {-2, clock} the clocks differ too much
 */
export const acquireLua: string = `
${tableLua}
local token, owner, clientMs, terms = ARGV[1], ARGV[2], tonumber(ARGV[3]), readTerms(4)
local range, prefer = tonumber(ARGV[8]), tonumber(ARGV[9])
if math.abs(clientMs - nowMs) > terms.skewMs then return {-2, nowMs} end
local epoch, from = open(terms, ARGV[10] == '1')

local records = {}
local fields = redis.call('HGETALL', key)
for index = 1, #fields, 2 do records[fields[index]] = fields[index + 1] end

local function grant(id, r)
  grow(r, r.floor, clientMs, terms)
  write(id, r)
  return {1, id, r.floor, r.ceiling, r.untilMs, nowMs}
end

local chosen, bestRank, firstMs
local ownerEnd = '|' .. owner
for id = 0, range - 1 do
  local record = records[tostring(id)]
  local freeAt, nextFloor, holder = 0, 0, nil
  -- Only what every record is asked for: the whole would take three times as long.
  if record then freeAt, nextFloor, holder = string.match(record, '^(%d+)|(%d+)|(%x*)|') end
  if holder == token then
    local r = parse(record)
    -- Of an earlier epoch it may be out of date: others may have had the id since.
    if r.epoch == epoch then return grant(id, r) end
  end
  freeAt = math.max(tonumber(freeAt), math.max(from, tonumber(nextFloor)) - terms.aheadMs)
  firstMs = math.min(firstMs or freeAt, freeAt)
  if freeAt <= nowMs then
    local isOwn = record and string.sub(record, -#ownerEnd) == ownerEnd and parse(record).owner == owner
    -- The one it had, the preferred one, one that was never used, the one that is free for the longest time.
    local rank = (isOwn and -3) or (id == prefer and -2) or (not record and -1) or freeAt
    if not bestRank or rank < bestRank then chosen, bestRank = id, rank end
  end
end
if not chosen then return {0, math.max(1, firstMs - nowMs)} end

local before = parse(records[tostring(chosen)])
return grant(chosen, {
  token = token, epoch = epoch, owner = owner, since = nowMs, ceiling = 0, floor = math.max(from, before and before.nextFloor or 0),
})
`
