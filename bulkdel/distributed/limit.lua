-- One look of one process at the limit that all processes with one key keep together; Redis runs it as one step.
--
-- KEYS  1 the state, a hash    2 who takes part, a hash of name to "seen limit"
-- ARGV  1 the process' name
--       2 the limit that it wants, "n per interval size lease"; empty for none
--       3 take: a lease is wanted; tell: only what follows is; leave: the process is done
--       4 a pause of so many microseconds from now; 0 for none
--       5 1 where it is a complaint of its own, and not the known one told again
--       6 how many pauses the process had heard of when it found that; empty where it had asked for none yet
--       7 the time, for tests only; empty for Redis' own clock
-- Returns {granted, wait, paused, pauses before, pauses now, active, fresh, limit in force}.
--
-- All times are in microseconds. A double holds those of this century to a quarter of one.
-- A limit's words: at most n in any per seconds; a permit comes in every interval; size are kept; lease are taken at once.

local state, members = KEYS[1], KEYS[2]
local name, wanted, act = ARGV[1], ARGV[2], ARGV[3]
local told, own, heard = tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])

local ABSENT = 60e6 -- of silence, and a process takes part no longer; as among the processes of one machine
local ACTIVE = 15e6 -- of silence, and it wants no permits: three looks
local SWEEP = 1e6   -- between two looks at who takes part: with a hundred of them it takes as long as ten leases
local SLOW = 5e5    -- between two leases: all come for the next one then, it is few looks and a missed turn would cost long
local KEPT = 3600e6 -- of silence of all, and the state is forgotten; it begins empty then, so that costs one lease's wait

local now = tonumber(ARGV[7])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1e6 + time[2]
end

local function numbers(text)
  local n, per, interval, size, lease = string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  return {
    n = tonumber(n), per = tonumber(per), interval = tonumber(interval), size = tonumber(size), lease = tonumber(lease),
  }
end

local held = redis.call('HMGET', state, 'limit', 'full', 'until', 'length', 'pauses', 'active', 'swept', 'turn')
local limit = held[1] or ''      -- the limit in force
local full = tonumber(held[2])   -- when its bucket will be full: the theoretical arrival time of GCRA
local ends = tonumber(held[3]) or 0   -- of the pause
local length = tonumber(held[4]) or 0 -- of the pause, from when its end was set
local pauses = tonumber(held[5]) or 0
local active = tonumber(held[6]) or 1
local swept = tonumber(held[7]) or 0
local turn = tonumber(held[8]) or 0   -- the last time that somebody was told to come at
local fresh = not held[5]

-- Redis' clock is a wall clock. Set back, it must neither lengthen a pause nor make anybody wait for the time it lost.
local news = ends - now > length
if news then ends = now + length end

-- Who takes part, and which limit is in force.

local before = redis.call('HGET', members, name)
if act == 'leave' then
  redis.call('HDEL', members, name)
  -- The limit stays in force until somebody looks, who then looks at who is left.
  if not fresh then redis.call('HSET', state, 'swept', 0) end
  return {0, 0, 0, pauses, pauses, active, 0, limit}
end
local seen, text
if before then seen, text = string.match(before, '^(%S+) ?(.*)$') end
seen = tonumber(seen)
local changed = text ~= wanted
if changed or now - seen >= SWEEP or seen > now then
  redis.call('HSET', members, name, string.format('%.0f %s', now, wanted))
end
local sweeps = changed or fresh or now - swept >= SWEEP or swept > now
if sweeps then
  local slowest, force = nil, ''
  active = 0
  local all = redis.call('HGETALL', members)
  for place = 1, #all, 2 do
    local at, what = string.match(all[place + 1], '^(%S+) ?(.*)$')
    at = tonumber(at)
    if at > now then -- the clock was set back
      at = now
      redis.call('HSET', members, all[place], string.format('%.0f %s', now, what))
    end
    if now - at > ABSENT then
      redis.call('HDEL', members, all[place])
    else
      if now - at <= ACTIVE then active = active + 1 end
      if what ~= '' then
        local of = numbers(what)
        if not slowest or of.n / of.per < slowest then slowest, force = of.n / of.per, what end
      end
    end
  end
  if force ~= limit then
    -- What the bucket held stays, as far as it fits: a change grants no burst. Where there was no limit, or nothing is known
    -- (first use, a flush), it begins empty: what left before may have been a whole window's.
    local had = 0
    if limit ~= '' and full then
      local old = numbers(limit)
      had = math.max(0, math.min(old.size, old.size - (full - now) / old.interval))
    end
    limit, full = force, nil
    if force ~= '' then
      local new = numbers(force)
      full = now + (new.size - math.min(had, new.size)) * new.interval
    end
  end
end

-- The pause: it only ever lengthens, and what several processes complain of at once is one complaint.

local known = pauses
if told > 0 or own then
  news = true
  if own and not (ends > now or (heard and pauses > heard)) then pauses = pauses + 1 end
  if now + told > ends then ends, length = now + told, told end
end
local paused = math.max(0, ends - now)

-- The lease.

local granted, wait = 0, paused
if limit ~= '' then
  local l = numbers(limit)
  -- No further off than an empty bucket's: else the clock was set back.
  full = math.min(full, now + l.size * l.interval)
  if act == 'take' and paused == 0 then
    local cost, room = l.lease * l.interval, now + l.size * l.interval
    full = math.max(full, now)
    if full + cost <= room + 1 then -- 1: a rounding is no reason to wait; it is not handed on to the next lease
      granted, full = l.lease, full + cost
    end
    wait = math.max(0, full + cost - room)
    if wait > 0 and active > 1 and cost <= SLOW then
      -- One after another, a lease apart, instead of all at once for the same lease. A turn that nobody takes leaves its
      -- lease in the bucket, and who comes next is told to come again at once, as far as the bucket has room for it.
      turn = math.max(now + wait, math.min(turn, now + active * cost) + cost)
      wait = turn - now
    end
  end
end

redis.call('HSET', state, 'full', full or '', 'turn', turn)
if news or sweeps then
  redis.call('HSET', state, 'limit', limit, 'until', ends, 'length', length, 'pauses', pauses, 'active', active,
    'swept', sweeps and now or swept)
end
if sweeps then
  local kept = string.format('%.0f', (KEPT + paused) / 1000)
  redis.call('PEXPIRE', state, kept)
  redis.call('PEXPIRE', members, kept)
end

return {granted, math.ceil(wait), math.ceil(paused), known, pauses, active, fresh and 1 or 0, limit}
