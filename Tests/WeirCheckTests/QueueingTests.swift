// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirCheck

/// The closed form against printed values and against formulas for few workers.
@Suite struct QueueingTests {
  /// M/M/1: wait = ρ / (1 − ρ) services.
  @Test("one worker waits ρ/(1 − ρ) services", arguments: [0.1, 0.5, 0.8, 0.99])
  func one(load: Double) throws {
    let wait = try #require(Queueing.wait(load: load, workers: 1, service: 1))
    #expect(abs(wait - load / (1 - load)) < 1e-9)
  }

  /// M/M/2: wait = ρ² / (1 − ρ²) services.
  @Test("two workers wait ρ²/(1 − ρ²) services", arguments: [0.1, 0.5, 0.8, 0.99])
  func two(busy: Double) throws {
    let wait = try #require(Queueing.wait(load: 2 * busy, workers: 2, service: 1))
    #expect(abs(wait - busy * busy / (1 - busy * busy)) < 1e-9)
  }

  /// C / (c − a) services, of tables of Erlang's C.
  @Test(
    "printed values of M/M/c",
    arguments: [(4, 0.8, 0.7455406), (64, 0.7, 0.0002298204), (128, 0.8, 0.0003554467), (16, 0.99, 5.959820)])
  func printed(workers: Int, busy: Double, wait: Double) throws {
    let found = try #require(Queueing.wait(load: busy * Double(workers), workers: workers, service: 1))
    #expect(abs(found - wait) < 1e-6 * wait + 1e-9)
  }

  @Test("no finite wait at and beyond what workers can do; none without load")
  func ends() {
    #expect(Queueing.wait(load: 4, workers: 4, service: 1) == nil)
    #expect(Queueing.wait(load: 5, workers: 4, service: 1) == nil)
    #expect(Queueing.wait(load: 0, workers: 4, service: 1) == 0)
  }
}
