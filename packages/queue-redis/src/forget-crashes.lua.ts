/**
 * Before dead letters wait again: BullMQ keeps how often their workers ended, so that one that died of that would die of the next crash.
 *
 * KEYS: the jobs.
 */
export const forgetCrashesLua = `
for _, key in ipairs(KEYS) do
  redis.call('HDEL', key, 'stc')
end
return #KEYS
`
