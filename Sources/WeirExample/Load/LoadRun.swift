// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Sends a mix as Poisson processes for a while, open loop: when a request is due does not depend on any answer.
///
/// A latency begins at the moment a request was due, not when a connection was free to take it: what a stalled server
/// keeps waiting is counted, all of it (no *coordinated omission*: Tene, *How NOT to Measure Latency*, 2013).
/// One thread does everything, so that the generator takes little from what it measures.
///
/// Confined to its event loop.
final class LoadRun {
  struct Settings: Sendable {
    var length: Int64
    var connections: Int
    var timeout: Int64
    var seed: UInt64
  }

  private let settings: Settings
  private let mix: LoadMix
  private let loop: any EventLoop
  private let pool: ClientPool
  private let templates: [RequestTemplate]
  private let start: NIODeadline
  private var random: Chance
  private var due: NIODeadline
  private var number = 0
  private var outstanding = 0
  private var report: LoadReport
  private let finished: EventLoopPromise<LoadReport>

  private init(
    mix: LoadMix, target: CallTarget, settings: Settings, loop: any EventLoop,
    finished: EventLoopPromise<LoadReport>
  ) {
    self.settings = settings
    self.mix = mix
    self.loop = loop
    self.finished = finished
    pool = ClientPool(loop: loop, address: target.address, connectionsMax: settings.connections)
    templates = mix.entries.map { RequestTemplate($0, target: target) }
    random = Chance(seed: settings.seed)
    // A moment later than now, so that the first request is not late already.
    start = NIODeadline.now() + .milliseconds(10)
    due = start
    report = LoadReport(mix: mix, seconds: Double(settings.length) / 1e9)
  }

  /// Runs on `loop` until every request has an outcome.
  static func run(
    _ mix: LoadMix, target: CallTarget, settings: Settings, on loop: any EventLoop
  ) async throws -> LoadReport {
    let promise = loop.makePromise(of: LoadReport.self)
    loop.execute {
      LoadRun(mix: mix, target: target, settings: settings, loop: loop, finished: promise).begin()
    }
    return try await promise.futureResult.get()
  }

  private func begin() {
    due = due + .nanoseconds(distance())
    arm()
  }

  /// The time to the next arrival of all kinds together; which kind it is, is drawn by their rates: the same law as a
  /// process for each kind.
  private func distance() -> Int64 { Int64(random.exponential() / mix.rate * 1e9) }

  private var sinceStart: Int64 { (due - start).nanoseconds }

  private func arm() {
    guard sinceStart < settings.length else {
      due = start + .nanoseconds(settings.length)
      loop.assumeIsolated().scheduleTask(deadline: due) { self.finishIfDone() }
      return
    }
    loop.assumeIsolated().scheduleTask(deadline: due) { self.fire() }
  }

  /// Sends all that is due.
  private func fire() {
    let now = NIODeadline.now()
    while due <= now, sinceStart < settings.length {
      send(dueAt: due)
      due = due + .nanoseconds(distance())
    }
    arm()
  }

  private func kind() -> Int {
    var left = random.unit() * mix.rate
    for (index, entry) in mix.entries.enumerated() {
      left -= entry.rate
      if left < 0 { return index }
    }
    return mix.entries.count - 1
  }

  private func send(dueAt: NIODeadline) {
    let kind = kind()
    let second = Int((dueAt - start).nanoseconds / 1_000_000_000)
    number += 1
    outstanding += 1
    report.offered(kind: kind, second: second)
    let template = templates[kind]
    let exchange = ClientExchange(
      request: template.request(number: number), isHead: template.isHead, keepsContent: false,
      timeout: .nanoseconds(settings.timeout), mayRepeat: false
    ) { [self] outcome in
      report.ended(
        kind: kind, second: second, outcome: outcome, latency: (NIODeadline.now() - dueAt).nanoseconds)
      outstanding -= 1
      finishIfDone()
    }
    exchange.sent = { [self] in report.sent(late: (NIODeadline.now() - dueAt).nanoseconds) }
    pool.send(exchange)
  }

  private var isFinished = false

  private func finishIfDone() {
    guard !isFinished, outstanding == 0, due >= start + .nanoseconds(settings.length), NIODeadline.now() >= due else {
      return
    }
    isFinished = true
    pool.close()
    finished.succeed(report)
  }
}
