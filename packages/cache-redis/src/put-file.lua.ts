/**
 * Replaces a file, its ttl included.
 *
 * KEYS 1 file: hash `v` format, `etag`, `type`, `bytes`
 * ARGV 1 etag, 2 content type, 3 ttl in ms; empty: for ever, 4 bytes
 * Reply 1
 */
export const putFileLua = `
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], 'v', '1', 'etag', ARGV[1], 'type', ARGV[2], 'bytes', ARGV[4])
if ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
`
