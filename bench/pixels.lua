-- Sends batches of pixel events, each event with an id of its own. Arguments: prefix of the ids, file with the batch,
-- key. In the batch `@ID@` stands where an id goes.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  local file = assert(io.open(args[2], "rb"))
  local text = file:read("*a")
  file:close()
  pieces = {}
  local from = 1
  while true do
    local at, after = text:find("@ID@", from, true)
    if not at then break end
    pieces[#pieces + 1] = text:sub(from, at - 1)
    pieces[#pieces + 1] = ""
    from = after + 1
  end
  pieces[#pieces + 1] = text:sub(from)
  sent = 0
  prefix = "sh-" .. args[1] .. "-" .. number .. "-"
  address = "/ingest/v1/events?key=" .. args[3]
  headers = { ["Content-Type"] = "text/plain;charset=UTF-8", ["Origin"] = "null" }
end

function request()
  for at = 2, #pieces, 2 do
    sent = sent + 1
    pieces[at] = prefix .. sent
  end
  return wrk.format("POST", address, headers, table.concat(pieces))
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "refused": %d, "broken": %d, "p50": %d, "p99": %d, "p999": %d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)
  ))
end
