-- One guarded increment: what skene_consume() does, as people write it for Redis.
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
if used + 1 > tonumber(ARGV[1]) then
  return 0
end
redis.call('INCR', KEYS[1])
return 1
