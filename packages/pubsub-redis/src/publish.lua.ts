import { logLua } from './log.lua.ts'

/**
 * Appends one signal. Of a source and a log exactly the sequence after the last accepted one is accepted: in a pipeline a failed 10 followed by 11 must
 * not make 10 a duplicate. A source that knows more to be accepted than the log does has lost it in a failover: a new epoch tells all readers.
 *
 * KEYS 1 log, 2 meta: see {@link logLua}
 * ARGV 1 source, 2 sequence or 0, 3 lowest sequence not known to be accepted, 4 epoch in which the one before that was accepted, 5 topic, 6 data, 7 longest
 *      log, 8 name for a new epoch, 9 how many ms ago the one before was sent
 * Reply {1, epoch} accepted; {0, epoch} accepted before; {-1} one before it is missing
 */
export const publishLua: string = `
${logLua}
local source, sequence, first = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local epoch, number = open(ARGV[8])
if sequence > 0 then
  local known = tonumber(redis.call('HGET', meta, 'p:' .. source) or '-1')
  if sequence <= known then return {0, epoch} end
  if sequence ~= known + 1 and sequence ~= first then return {-1} end
  if known < first - 1 and ARGV[4] ~= '' and not isCovered(epoch, ARGV[4], ARGV[9]) then epoch = begin(ARGV[8]) end
end
append(epoch, number, ARGV[7], source, sequence, ARGV[5], ARGV[6])
return {1, epoch}
`
