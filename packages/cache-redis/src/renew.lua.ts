/**
 * Makes a lease last from now, if it is still this owner's; with 0 ms it ends.
 *
 * KEYS 1 lease
 * ARGV 1 owner, 2 ms
 * Reply 1 done, 0 it is not this owner's
 */
export const renewLua = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`
