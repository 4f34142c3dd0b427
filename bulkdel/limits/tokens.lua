-- One claim of one process on the limit that all processes with one key keep together; Redis runs it as one step.
--
-- KEYS  1 the bucket, a hash    2 the processes that want permits, a hash of name to "seen limit"
-- ARGV  1 the process' name
--       2 the limit that it wants: "n per interval size lease"; empty for none
--       3 a pause of so many microseconds from now that it knows of; 0 for none
--       4 the time, for tests only; empty for Redis' own clock
-- Returns {permits, retry, paused (negative: it is over), processes, limit in force}.
--
-- Times are in microseconds; a double holds those of this century to a quarter of one.
-- A limit: at most n in any per seconds; a permit comes in every interval; size are kept; lease are taken at once.

local bucket, processes = KEYS[1], KEYS[2]
local name, wanted, told = ARGV[1], ARGV[2], tonumber(ARGV[3])
local SILENT = 15e6 -- a process that was silent for this long has ended, or wants nothing: one that waits claims every 5 s
local KEPT = 3600e6 -- the state is forgotten after this long; the bucket begins empty then, which costs one lease's wait

local now = tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1e6 + time[2]
end

local function numbers(text)
  local n, per, interval, size, lease = string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  return {
    rate = n / per, interval = tonumber(interval), size = tonumber(size), lease = tonumber(lease),
  }
end

local held = redis.call('HMGET', bucket, 'limit', 'full', 'until', 'length', 'active', 'swept')
local limit = held[1] or ''           -- the limit in force
local full = tonumber(held[2])        -- when its bucket is full: the theoretical arrival time of GCRA
local ends = tonumber(held[3]) or 0   -- of the pause
local length = tonumber(held[4]) or 0 -- of the pause, from when its end was set
local active = tonumber(held[5]) or 1
local swept = tonumber(held[6]) or 0

-- Redis' clock is a wall clock. If it is set back, the pause must not grow.
ends = math.min(ends, now + length)
if told > 0 and now + told > ends then ends, length = now + told, told end

-- Who wants permits, and which limit is in force. With a hundred processes this takes as long as ten leases, so it is done once
-- a second, and when a process comes or changes its mind.
local before = redis.call('HGET', processes, name)
local seen, text
if before then seen, text = string.match(before, '^(%S+) ?(.*)$') end
if text ~= wanted or now - swept >= 1e6 or swept > now then
  redis.call('HSET', processes, name, string.format('%.0f %s', now, wanted))
  local slowest, force = nil, ''
  local all = redis.call('HGETALL', processes)
  active, swept = 0, now
  for place = 1, #all, 2 do
    local at, what = string.match(all[place + 1], '^(%S+) ?(.*)$')
    if tonumber(at) > now then -- the clock was set back
      at = now
      redis.call('HSET', processes, all[place], string.format('%.0f %s', now, what))
    end
    if now - at > SILENT then
      redis.call('HDEL', processes, all[place])
    else
      active = active + 1
      if what ~= '' and (not slowest or numbers(what).rate < slowest) then slowest, force = numbers(what).rate, what end
    end
  end
  if force ~= limit then
    -- What the bucket held stays as far as it fits: a change grants no burst. If there was no limit, or nothing is known (first
    -- use, a flush), it begins empty: what left before may have been a whole window's.
    local kept = 0
    if limit ~= '' and full then
      local old = numbers(limit)
      kept = math.max(0, math.min(old.size, old.size - (full - now) / old.interval))
    end
    limit, full = force, nil
    if force ~= '' then
      local new = numbers(force)
      full = now + (new.size - math.min(kept, new.size)) * new.interval
    end
  end
elseif now - seen >= 1e6 then
  redis.call('HSET', processes, name, string.format('%.0f %s', now, wanted))
end

-- The lease.
local permits, retry = 0, math.max(0, ends - now)
if limit ~= '' then
  local l = numbers(limit)
  local cost, room = l.lease * l.interval, now + l.size * l.interval
  full = math.max(now, math.min(full, room)) -- further off than an empty bucket's only if the clock was set back
  if ends <= now and full + cost <= room + 1 then -- 1: a rounding is no reason to wait
    permits, full = l.lease, full + cost
  end
  retry = math.max(retry, full + cost - room)
end

redis.call('HSET', bucket, 'limit', limit, 'full', full or '', 'until', ends, 'length', length, 'active', active, 'swept', swept)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, string.format('%.0f', (KEPT + math.max(0, ends - now)) / 1000)) end
return {permits, math.ceil(retry), math.ceil(ends - now), active, limit}
