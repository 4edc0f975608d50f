-- The load of one wrk thread. With a file of tokens, each request carries the next one; without (`-`),
-- every request carries the headers of the command line. A second file is the body of every request. Ends with one line of JSON.

local requests, at = {}, 0
wrapped = 0

function init(args)
   if args[2] then
      wrk.method = "POST"
      wrk.body = io.open(args[2]):read("*a")
   end
   if not args[1] or args[1] == "-" then return end
   for token in io.lines(args[1]) do
      wrk.headers["Authorization"] = "Bearer " .. token
      requests[#requests + 1] = wrk.format()
   end
   request = function()
      at = at + 1
      if at > #requests then at, wrapped = 1, 1 end
      return requests[at]
   end
end

local threads = {}

function setup(thread)
   threads[#threads + 1] = thread
end

function done(summary, latency)
   local errors = summary.errors
   local again = threads[1]:get("wrapped") or 0
   print(string.format(
      '{"requests": %d, "rps": %.1f, "refused": %d, "broken": %d, "bytes": %d, "p50_us": %d, "p99_us": %d, "wrapped": %d}',
      summary.requests, summary.requests / summary.duration * 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout, summary.bytes,
      latency:percentile(50), latency:percentile(99), again))
end
