/**
 * Undoes an acquisition whose caller has given up, also if its request arrives only after this one.
 *
 * KEYS 1 lease, 2 tombstone
 * ARGV 1 owner, 2 ms that the tombstone lasts
 * Reply 1
 */
export const cancelLua = `
redis.call('SET', KEYS[2], 1, 'PX', ARGV[2])
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`
