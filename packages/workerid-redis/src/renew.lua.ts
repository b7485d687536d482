import { tableLua } from './table.lua.ts'

/**
 * Starts the lease of an id anew and raises its ceiling, if nobody else had the id since.
 *
 * When the record may be out of date, a claim that still runs counts (the end of the lease that the holder was told): others get an id after
 * that at the earliest, so no two holders ever have one. Without it the holder gets a new window, as late as anybody who comes anew.
 *
 * KEYS 1 the table: see {@link tableLua}
 * ARGV 1 token, 2 owner key, 3 clock of the node, 4 lease, 5 quarantine, 6 most skew, 7 most ahead, all in ms, 8 id, 9 highest timestamp used;
 *      as the holder was told last: 10 floor, 11 ceiling, 12 end of the lease
 * Reply {1, floor, ceiling, until, clock} renewed; {0, ms} not for so long; {-1} lost
 */
export const renewLua: string = `
${tableLua}
local token, owner, clientMs, terms = ARGV[1], ARGV[2], tonumber(ARGV[3]), readTerms(4)
local id, usedMs = ARGV[8], tonumber(ARGV[9])
local toldFloor, toldCeiling, toldUntil = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local epoch, from = open(terms, false)
local r = parse(redis.call('HGET', key, id))
local isMine = r and r.token == token
local isCurrent = r and r.epoch == epoch
-- By a clock that is behind, a claim may look valid that ended before another holder began, a quarantine later.
local hasClaim = nowMs <= toldUntil - math.max(0, terms.skewMs - terms.quarantineMs)

if isCurrent and not isMine then return {-1} end
if hasClaim or (isMine and isCurrent) then
  local since = isMine and r.since or nowMs
  -- The higher ones: answers get lost, and records can be out of date.
  local floor, ceiling = math.max(isMine and r.floor or 0, toldFloor), math.max(isMine and r.ceiling or 0, toldCeiling)
  r = { token = token, epoch = epoch, owner = owner, since = since, floor = floor, ceiling = ceiling }
else
  local floor = math.max(from, r and r.nextFloor or 0)
  -- Like anybody who comes anew, whatever a record says that may be out of date.
  local waitMs = math.max(floor - terms.aheadMs, r and not isMine and r.freeAt or 0) - nowMs
  if waitMs > 0 then return {0, waitMs} end
  r = { token = token, epoch = epoch, owner = owner, since = isMine and r.since or nowMs, floor = floor, ceiling = 0 }
end

grow(r, math.max(usedMs, r.floor), clientMs, terms)
write(id, r)
return {1, r.floor, r.ceiling, r.untilMs, nowMs}
`
