/**
 * A file, without its bytes when the caller has them.
 *
 * KEYS 1 file: hash `v` format, `etag`, `type`, `bytes`
 * ARGV the etags that the caller knows
 * Reply nil: there is none, or of a format to come; {etag} unchanged; {etag, type, bytes}
 */
export const getFileLua = `
local head = redis.call('HMGET', KEYS[1], 'v', 'etag')
if head[1] ~= '1' then return false end
for _, known in ipairs(ARGV) do
  if known == head[2] then return {head[2]} end
end
return redis.call('HMGET', KEYS[1], 'etag', 'type', 'bytes')
`
