import { logLua } from './log.lua.ts'

/**
 * Whether a reader can go on from where it was. Only if the entry that it read last is still there with the same number: equal numbers alone would
 * also be those of a log whose end was lost and filled up again.
 *
 * KEYS 1 log, 2 meta: see {@link logLua}
 * ARGV 1 id of the last entry, '0-0' where the log was empty, or '' for none, 2 its number, 3 epoch, 4 name for a new epoch, 5 source, 6 longest log
 * Reply {what, id, number, epoch, missed or -1}; what is 'ok', 'fresh', or why there is a gap; then the position is the end of the log
 */
export const resumeLua: string = `
${logLua}
local lastId, lastNumber, lastEpoch = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local epoch, number = open(ARGV[4])
if lastId == '' then return {'fresh', headId(), number, epoch, -1} end
if epoch ~= lastEpoch then return {'epoch', headId(), number, epoch, -1} end

local firstNumber = numberOf(redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1])
local isThere
if lastId == '0-0' then
  isThere = number == lastNumber or firstNumber == lastNumber + 1
else
  isThere = numberOf(redis.call('XRANGE', log, lastId, lastId)[1]) == lastNumber
end
if isThere then return {'ok', lastId, lastNumber, epoch, 0} end
if firstNumber and firstNumber > lastNumber then return {'trimmed', headId(), number, epoch, number - lastNumber} end
-- The end of the log was lost. Others may not have read it yet, and who published it may be dead.
epoch = begin(ARGV[4])
-- So that all readers hear of it now; and a log that was left empty would be taken for lost once more.
number = append(epoch, number, ARGV[6], ARGV[5], 0, '', '')
return {'rewind', headId(), number, epoch, -1}
`
