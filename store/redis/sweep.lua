-- Removes from an index the owners whose hashes this Redis has let expire.
-- KEYS: the index. ARGV: at most how many. Returns how many.
local clock = redis.call('TIME')
local before = clock[1] * 1000 - 1000 -- the index has when the hashes expire
local owners = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', before), 'LIMIT', 0, ARGV[1])
for _, owner in ipairs(owners) do
  redis.call('ZREM', KEYS[1], owner)
end
return #owners
