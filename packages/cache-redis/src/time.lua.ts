/** The server's time, which is the only one that decides. */
export const timeLua = `
local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function milliseconds()
  return microseconds() / 1000
end
`
