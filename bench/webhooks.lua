-- Sends signed webhooks, each with an id of its own. Arguments: prefix of the ids, folder with `body` and `signature`,
-- topic, and after how many answers to stop (0: when the time is over). wrk itself always sleeps until the time is over:
-- who started it reads "enough" and interrupts it.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  local function content(name)
    local file = assert(io.open(args[2] .. "/" .. name, "rb"))
    local text = file:read("*a")
    file:close()
    return text
  end
  sent, answered, most = 0, 0, tonumber(args[4])
  if most == 0 then response = nil end
  prefix = args[1] .. "-" .. number .. "-"
  body = content("body")
  headers = {
    ["Content-Type"] = "application/json",
    ["User-Agent"] = "Shopify-Captain-Hook",
    ["X-Shopify-API-Version"] = "2026-10",
    ["X-Shopify-Event-Id"] = "98880550-7158-44d4-b7cd-2c97c8a091b5",
    ["X-Shopify-Hmac-Sha256"] = content("signature"),
    ["X-Shopify-Shop-Domain"] = "bench.myshopify.com",
    ["X-Shopify-Topic"] = args[3],
    ["X-Shopify-Triggered-At"] = "2026-11-21T10:00:00.000000000Z",
  }
end

function request()
  sent = sent + 1
  headers["X-Shopify-Webhook-Id"] = prefix .. sent
  return wrk.format("POST", "/webhooks/shopify", headers, body)
end

-- What is under way at the stop is answered and not counted, so the caller counts effects instead.
function response()
  answered = answered + 1
  if answered == most then
    io.write("enough\n")
    io.flush()
    wrk.thread:stop()
  end
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
