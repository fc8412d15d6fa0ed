-- One Apply. All keys have the same hash tag.
-- KEYS: the owner's hash; the index of the kind's owners, by when their hashes
--   expire; the highest version of an owner under this tag that is gone.
-- ARGV: base, or "" for any; now in milliseconds; owner; publish command, or ""
--   if nobody watches; channel; 8 bytes that name this call; then the changes:
--   "p" id expires value, "d" id, "c". Expires is in milliseconds, 0: never.
-- Returns the version, 0 if nothing is left, -1 for a conflict.
--
-- Each redis.call costs as much as the rest of a refresh, so one that changes
-- nothing is left out.
--
-- The hash has a field "m": the byte 1, which is the format, the version as a
-- double, the 8 bytes that name the call that wrote it, and for each item, in
-- order, its expiry as a double and its id behind a length of 4 bytes, all
-- big-endian; and for each item a field "i" followed by the id, with the value.

local hash, index, gravestone = KEYS[1], KEYS[2], KEYS[3]
local now, owner, publish, call = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[6]
local never = math.huge

-- When the hash of items that last till then expires: at least a minute later,
-- for nodes whose clocks differ, and at one of the times that are slack apart, so
-- that what is refreshed every minute does not move it each time.
local slack = 131072 -- as in scan.go
local function outlives(till)
  if till == never then return never end
  return (math.floor(till / slack) + 1) * slack + 60000
end

local list, at, expires = {}, {}, {}   -- ids in order, false where one left; place; expiry
local values, gone = {}, {}            -- what to write and what to remove
local version, floor, bound = 0, 0, nil -- the state's; the hash's; the latest expiry before

local meta = redis.call('HGET', hash, 'm')
if meta then
  if meta:byte(1) ~= 1 then
    return redis.error_reply('FORMAT stored form ' .. meta:byte(1) .. ' is not known')
  end
  local writer, p = nil, 18
  floor = struct.unpack('>d', meta, 2)
  writer = meta:sub(10, 17)
  bound = 0
  while p <= #meta do
    local e, n = struct.unpack('>dI4', meta, p)
    local id = meta:sub(p + 12, p + 11 + n)
    p = p + 12 + n
    local till = e == 0 and never or e
    if till > bound then bound = till end
    if till > now then
      list[#list + 1] = id
      at[id] = #list
      expires[id] = till
    else
      gone[id] = true
    end
  end
  if #list > 0 then
    version = floor
    if writer == call then
      return version -- this very call, sent again after its answer was lost
    end
  end
end

if ARGV[1] ~= '' and tonumber(ARGV[1]) ~= version then
  return -1
end

local changed = false
local function remove(id)
  if at[id] then
    list[at[id]] = false
    at[id] = nil
    values[id] = nil
    gone[id] = true
    changed = true
  end
end

local a = 7
while a <= #ARGV do
  local what = ARGV[a]
  if what == 'p' then
    local id, e = ARGV[a + 1], tonumber(ARGV[a + 2])
    local till = e == 0 and never or e
    if till > now then
      if not at[id] then
        list[#list + 1] = id
        at[id] = #list
      end
      expires[id] = till
      values[id] = ARGV[a + 3]
      gone[id] = nil
      changed = true
    else
      remove(id)
    end
    a = a + 4
  elseif what == 'd' then
    remove(ARGV[a + 1])
    a = a + 2
  else
    for _, id in ipairs(list) do
      if id then remove(id) end
    end
    a = a + 1
  end
end
if not changed then
  return version
end

if next(at) == nil then
  redis.call('DEL', hash)
  redis.call('ZREM', index, owner)
  if floor > (tonumber(redis.call('GET', gravestone)) or 0) then
    redis.call('SET', gravestone, string.format('%.0f', floor))
  end
  if publish ~= '' then redis.call(publish, ARGV[5], owner) end
  return 0
end

-- The clock keeps versions growing when this Redis has lost its last second; the
-- call's own bits keep two apart that nodes give to one state of which the first
-- was lost, whatever their clocks say; and what is gone keeps them growing
-- when a clock steps.
if not meta then
  floor = tonumber(redis.call('GET', gravestone)) or 0
end
version = math.max(floor, now * 1000) + 1 + struct.unpack('>I2', call, 7)

local latest = 0
local parts = { '\1', struct.pack('>d', version), call }
for _, id in ipairs(list) do
  if id then
    local till = expires[id]
    if till > latest then latest = till end
    parts[#parts + 1] = struct.pack('>dI4', till == never and 0 or till, #id)
    parts[#parts + 1] = id
  end
end
local set = { 'm', table.concat(parts) }
for id, value in pairs(values) do
  set[#set + 1] = 'i' .. id
  set[#set + 1] = value
  if #set >= 1000 then
    redis.call('HSET', hash, unpack(set))
    set = {}
  end
end
if #set > 0 then
  redis.call('HSET', hash, unpack(set))
end
for id in pairs(gone) do
  redis.call('HDEL', hash, 'i' .. id)
end

local ends = outlives(latest)
if bound == nil or ends ~= outlives(bound) then
  if ends < never then
    redis.call('PEXPIREAT', hash, string.format('%.0f', ends))
    redis.call('ZADD', index, string.format('%.0f', ends), owner)
  else
    if bound then redis.call('PERSIST', hash) end
    redis.call('ZADD', index, '+inf', owner)
  end
end
if publish ~= '' then redis.call(publish, ARGV[5], owner) end
return version
