// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns

/// Ends with 1 and a sentence when something is not as a user of the library may expect.
func expect(_ condition: Bool, _ what: String) {
  if !condition { fatalError("consumer: \(what)") }
}

// 1. A server's own limits: by client, and how many at once.
var table = RateTable(GCRA(rate: Rate(perSecond: 10), burst: 3), cells: 1024)
let now = Instant(nanoseconds: 1_000_000_000)
for _ in 0..<3 {
  guard case .allow = table.admit(key: 42, now: now) else { fatalError("consumer: the burst is refused") }
}
expect(
  table.admit(key: 42, now: now) == .refuse(until: now + .milliseconds(100)), "the fourth of three waits for 100 ms")

var settings = AtOnce.Settings()
settings.limit = 1
settings.queue.length = 1
var gate = AtOnce(settings)
expect(gate.acquire(Slot(index: 0, generation: 0), now: now, deadline: .distantFuture) == .enter, "the first enters")
let second = Slot(index: 1, generation: 0)
expect(gate.acquire(second, now: now, deadline: .distantFuture) == .waits(until: now + .seconds(1)), "the second waits")
expect(gate.acquire(Slot(index: 2, generation: 0), now: now, deadline: .distantFuture) == .full, "the third is refused")
expect(gate.release(now: now) == second, "the place goes to the second")

// 2. Routes.
var builder = RouteTrie.Builder()
try builder.add(path: "/notes/*", methods: [.get], route: 0)
try builder.add(path: "/**", route: 1)
let trie = builder.build()
expect(trie.match(host: "localhost", path: "/notes/7", method: .get) == .route(0), "a note is a note")

// 3. Calls to others: instance 1 is broken, nobody notices.
let clerk = Clerk(seed: 7)
struct Broken: Error {}
var failures = 0
for _ in 0..<200 {
  let answer = try await clerk.call { instance in
    if instance == 1 {
      failures += 1
      throw Broken()
    }
    return "hello"
  }
  expect(answer == "hello", "the good instance answers")
}
expect(failures < 20, "the broken instance is left alone: \(failures) of 200")
print("consumer: ok, \(failures) of 200 calls met the broken instance first")
