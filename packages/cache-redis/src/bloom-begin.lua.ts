/**
 * Says of what kind a filter is, if nobody has yet.
 *
 * KEYS 1 filter: 64 bytes that say what it is
 * ARGV 1 these bytes
 * Reply the bytes that are there now
 */
export const bloomBeginLua = `
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GETRANGE', KEYS[1], 0, 63)
`
