// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import WeirBase
package import WeirFlows
import WeirMessaging
import WeirPatterns
import WeirPlatform
import WeirWire

/// A saga of the file: who is asked for its steps, and what undoes them.
package struct SagaWork: Sendable, Equatable {
  package struct Call: Sendable, Equatable {
    /// Along which the service is called.
    package var edge: Int
    /// The service, for the `Host` field.
    package var service: String
    package var method: String
    package var path: String
    /// Calls of it at the same time, on one loop; more wait in line.
    package var slots: Int

    package init(edge: Int, service: String, method: String, path: String, slots: Int) {
      self.edge = edge
      self.service = service
      self.method = method
      self.path = path
      self.slots = slots
    }
  }

  package var name: String
  package var script: SagaScript
  package var settings: SagaRun.Settings
  /// By target, as scripts write it.
  package var calls: [String: Call]

  package init(name: String, script: SagaScript, settings: SagaRun.Settings, calls: [String: Call]) {
    self.name = name
    self.script = script
    self.settings = settings
    self.calls = calls
  }

  /// The queue of its instances, and the log of their journals.
  package var log: String { SagaAPI.log(name) }
}

/// What has become of a saga's instances, as this node saw them end.
package struct SagaTally: Sendable, Equatable {
  package var finished = 0
  package var compensated = 0
  package var stuck = 0
  /// Turned back.
  package var turned = 0
  /// Of those that are over, from their acceptance on.
  package var milliseconds: Int64 = 0

  package init() {}
}

/// Takes instances of one saga from the state process, and has them go on until they are over, or wait.
///
/// Confined to its loop; each loop has one for each saga. What an instance does next is decided by ``SagaRun``; this carries it
/// out: it reads and appends to the journal, makes the calls, and says how it ended.
final class SagaRunner {
  /// Instances in hand, on one loop: each has one question open at the state process (`StateLink.asksMax`).
  static let slotsMax = 7000
  /// Bytes of their inputs, beyond which no more are taken: each input may have a MiB.
  static let bytesMax = 256 << 20
  /// How long an ask waits for instances.
  static let wait: Int64 = 20_000
  /// Bytes of a participant's answer that are read.
  static let answerBytesMax = 64 << 10
  private static let journalTime: Int64 = 30_000_000_000

  /// An instance in hand.
  private final class Held {
    let leased: LeasedMessage
    var run: SagaRun
    var wasBackward: Bool?

    init(_ leased: LeasedMessage, _ run: SagaRun) {
      self.leased = leased
      self.run = run
    }

    var id: [UInt8] { leased.message.id }
    var bytes: Int { leased.message.body.count + leased.message.fields.count }
  }

  private typealias Line = SagaCalls<(held: Held, call: SagaRun.Call)>

  private unowned let loop: ProxyLoop
  private var work: SagaWork
  private var delivery: QueueDelivery
  private var random: SeededRandom
  private var held: [Int64: Held] = [:]
  private var bytes = 0
  /// By edge.
  private var lines: [Int: Line] = [:]
  private let settler: Settler
  private var ticks = 0

  init(_ work: SagaWork, loop: ProxyLoop) {
    self.work = work
    self.loop = loop
    delivery = QueueDelivery(SagaRunner.settings)
    random = SeededRandom(seed: loop.random.next(), stream: "saga \(work.name)")
    settler = Settler(loop: loop)
  }

  private static var settings: QueueDelivery.Settings {
    var settings = QueueDelivery.Settings()
    settings.slots = slotsMax
    return settings
  }

  /// The plan has changed; what has begun goes on by what it began with.
  func moved(to work: SagaWork) { self.work = work }

  /// Ten times a second, and whenever an instance has left.
  func tick(now: Instant) {
    ask(now: now)
    ticks += 1
    if ticks % 10 != 0 { return }
    let wall = SystemClock.wall()
    for held in Array(held.values) {
      guard let wake = held.run.nextWake, wake <= wall else { continue }
      var outputs: [SagaRun.Output] = []
      held.run.wake(now: wall, doing: &outputs)
      carryOut(outputs, held)
    }
  }

  /// Nothing more is taken; what is under way ends its step, and is given back.
  func stop() { delivery.stop() }

  // MARK: - Instances

  private func ask(now: Instant) {
    guard bytes < SagaRunner.bytesMax, let state = loop.state else { return }
    let count = delivery.ask(now: now)
    if count == 0 { return }
    let request = StateRequest.lease(
      queue: work.log, max: UInt16(min(count, QueueLimits.batchMax)), visibility: nil, wait: SagaRunner.wait)
    state.ask(request, within: SagaRunner.wait * 1_000_000, now: now) { [self] in leased($0) }
  }

  private func leased(_ reply: StateReply?) {
    let now = loop.now()
    guard case .leased(let messages) = reply else { return delivery.unanswered(now: now, using: &random) }
    delivery.leased(messages.count)
    for message in messages {
      let run = SagaRun(work.script, work.settings, leasedUntil: WallTime(milliseconds: message.until))
      let new = Held(message, run)
      if delivery.isStopped {
        delivery.declined()
        settle(new, .giveBack)
        continue
      }
      // What it was leased for before is over by the lease's own time: its next word is refused.
      if let old = held.updateValue(new, forKey: message.sequence) {
        delivery.declined()
        bytes -= old.bytes
        loop.delivered()
      }
      bytes += new.bytes
      loop.deliveries += 1
      var outputs: [SagaRun.Output] = []
      new.run.begin(doing: &outputs)
      carryOut(outputs, new)
    }
    ask(now: now)
  }

  private func carryOut(_ ordered: [SagaRun.Output], _ held: Held) {
    var outputs = ordered
    var next = 0
    while next < outputs.count {
      let output = outputs[next]
      next += 1
      switch output {
      case .read(let after): read(held, after)
      case .append(let body, let expected): append(held, body, expected)
      case .call(let call):
        if delivery.isStopped {
          leave(held, .giveBack)
        } else if work.calls[call.target] == nil {
          // The file has it no more.
          let words = Array("\(call.target) is not in the file any more".utf8)
          let wall = SystemClock.wall()
          held.run.ended(
            call, .notDone, SagaAnswer(at: wall, status: 0, text: words), now: wall, using: &random, doing: &outputs)
        } else {
          begin(held, call)
        }
      case .extend:
        settle(held, .extend(by: work.settings.visibility.inNanoseconds / 1_000_000))
      case .settle(let ending): leave(held, ending)
      }
    }
    note(held)
  }

  /// Counts those that turn back.
  private func note(_ held: Held) {
    guard held.run.version > 0 else { return }
    var isBackward = false
    if case .backward = held.run.saga.phase { isBackward = true }
    if let was = held.wasBackward, isBackward && !was { count { $0.turned += 1 } }
    held.wasBackward = isBackward
  }

  private func count(_ body: (inout SagaTally) -> Void) {
    loop.node.sagas.withLock { body(&$0[work.name, default: SagaTally()]) }
  }

  /// It leaves these hands.
  private func leave(_ held: Held, _ ending: SagaRun.Ending) {
    guard self.held[held.leased.sequence] === held else { return }
    self.held[held.leased.sequence] = nil
    bytes -= held.bytes
    delivery.declined()
    let wall = SystemClock.wall()
    switch ending {
    case .finished, .compensated:
      count {
        if ending == .finished { $0.finished += 1 } else { $0.compensated += 1 }
        $0.milliseconds += max(0, wall.milliseconds - held.leased.enqueuedAt)
      }
      settle(held, .ack(result: Array("{\"state\":\"\(ending == .finished ? "finished" : "compensated")\"}".utf8)))
    case .stuck(let steps):
      count { $0.stuck += 1 }
      let script = held.run.script.steps
      let names = steps.map { "step \($0 + 1), \(script[$0].act)" }.joined(separator: "; ")
      refuse(held, "stuck: \(names)")
    case .unreadable: refuse(held, "stuck: its journal cannot be read by this version")
    case .postpone(let until): settle(held, .postpone(by: max(1, until.milliseconds - wall.milliseconds)))
    case .giveBack: settle(held, .giveBack)
    case .lost: break
    }
    loop.delivered()
    ask(now: loop.now())
  }

  private func refuse(_ held: Held, _ error: String) {
    settle(held, .nack(error: error, status: 0, latency: 0, retryAfter: nil, isFinal: true))
  }

  // MARK: - The journal

  private func read(_ held: Held, _ after: Int64) {
    guard let state = loop.state else { return }
    state.ask(
      .read(log: work.log, key: held.id, after: after, limit: SagaAPI.pageMax, wait: 0),
      within: SagaRunner.journalTime, now: loop.now()
    ) { [self] reply in
      var outputs: [SagaRun.Output] = []
      let wall = SystemClock.wall()
      if case .entries(let entries) = reply {
        let bytes = entries.reduce(0) { $0 + $1.body.count }
        held.run.read(
          entries.map { SagaRun.Commit(version: $0.version, body: $0.body) },
          isLast: entries.count < Int(SagaAPI.pageMax) && bytes < LogLimits.readBytesMax / 2, now: wall, doing: &outputs
        )
      } else {
        held.run.unanswered(now: wall, doing: &outputs)
      }
      carryOut(outputs, held)
    }
  }

  private func append(_ held: Held, _ body: [UInt8], _ expected: Int64) {
    guard let state = loop.state else { return }
    // Asked again after a lost connection, it is the same entry; and no other process ever draws the same, whatever its seed.
    let words = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max))
    let id = Array("\(String(words.0, radix: 16)).\(String(words.1, radix: 16))".utf8)
    state.ask(
      .append(log: work.log, [NewEntry(id: id, key: held.id, body: body, expected: expected)]),
      within: SagaRunner.journalTime, insists: true, now: loop.now()
    ) { [self] reply in
      var outputs: [SagaRun.Output] = []
      let wall = SystemClock.wall()
      switch reply {
      case .appended(let entries) where entries.first?.version == expected + 1:
        held.run.appended(now: wall, doing: &outputs)
      case .appended: held.run.conflicted(doing: &outputs)
      case .conflict: held.run.conflicted(doing: &outputs)
      default: held.run.unanswered(now: wall, doing: &outputs)
      }
      carryOut(outputs, held)
    }
  }

  // MARK: - Calls

  private func begin(_ held: Held, _ call: SagaRun.Call) {
    guard let to = work.calls[call.target] else { return }
    if lines[to.edge, default: Line()].begin((held, call), slots: to.slots) {
      make(held, call, to, line: to.edge, since: loop.now())
    }
  }

  /// A place has become free.
  private func proceed(_ edge: Int, slots: Int) {
    lines[edge, default: Line()].leave()
    while let (held, call) = lines[edge, default: Line()].next(slots: slots) {
      if self.held[held.leased.sequence] === held, !held.run.isOver {
        if !delivery.isStopped, held.run.mayCall(now: SystemClock.wall()), let to = work.calls[call.target] {
          make(held, call, to, line: edge, since: loop.now())
          continue
        }
        leave(held, .giveBack)
      }
      lines[edge, default: Line()].leave()
    }
  }

  /// `line` is the edge along which it has its place: another plan's edges have other numbers.
  private func make(_ held: Held, _ call: SagaRun.Call, _ to: SagaWork.Call, line: Int, since: Instant) {
    // It has waited, or this process has stood still: what may be another's is not called for.
    guard held.run.mayCall(now: SystemClock.wall()), !delivery.isStopped else {
      leave(held, .giveBack)
      return proceed(line, slots: to.slots)
    }
    let message = held.leased.message
    var request = ByteBuffer()
    // HTTP/1.0: the answer comes without chunks and ends with its connection.
    request.writeString("\(to.method) \(to.path) HTTP/1.0\r\nHost: \(to.service)\r\n")
    // All steps of a saga, and what undoes them, are in one trace.
    let trace = MessageTrace(held.leased, of: work.log, sample: loop.epoch.configuration.traceSample)
    request.writeBytes(trace.written(into: message.fields))
    request.writeString("Idempotency-Key: ")
    request.writeBytes(key(of: call, held))
    request.writeString("\r\nContent-Length: \(message.body.count)\r\n\r\n")
    request.writeBytes(message.body)
    var lines = Array("Weir-Saga: \(work.name)\r\nWeir-Id: ".utf8)
    lines += message.id
    lines += Array("\r\nWeir-Step: \(call.step + 1)\r\nWeir-Attempt: \(call.attempt)\r\n".utf8)
    let startedAt = loop.now()
    let inner = InnerCall(edge: to.edge, bytesMax: SagaRunner.answerBytesMax, lines: lines) { [self] inner in
      ended(inner, held, call, to, line, since, startedAt)
    }
    inner.begin(request, by: loop.epoch, on: loop, listener: -1, peer: PeerAddress())
  }

  /// The same over all attempts: what is asked again is known again.
  private func key(of call: SagaRun.Call, _ held: Held) -> [UInt8] {
    Array("\(work.name)/".utf8) + held.id + Array("/\(call.step + 1)\(call.isUndo ? "/undo" : "")".utf8)
  }

  private func note(
    _ inner: InnerCall, _ held: Held, _ call: SagaRun.Call, _ startedAt: Instant, _ status: UInt16,
    _ outcome: AttemptEntry.Outcome
  ) {
    loop.keep(
      AttemptEntry(
        inner, of: .saga(work.name, step: call.step + 1, isUndo: call.isUndo), id: held.id, key: key(of: call, held),
        attempt: Int(call.attempt), startedAt: startedAt, duration: loop.now().since(startedAt), outcome: outcome,
        status: status))
  }

  private func ended(
    _ inner: InnerCall, _ held: Held, _ call: SagaRun.Call, _ to: SagaWork.Call, _ line: Int, _ since: Instant,
    _ startedAt: Instant
  ) {
    let now = loop.now()
    if !held.run.isOver, !delivery.isStopped,
      let pause = Line.again(
        after: inner.reason, attempts: inner.attempts, waited: now.since(since), using: &random)
    {
      let bound = NIOLoopBound((self, held), eventLoop: loop.eventLoop)
      loop.eventLoop.scheduleTask(in: .nanoseconds(pause)) {
        let (runner, held) = bound.value
        runner.make(held, call, runner.work.calls[call.target] ?? to, line: line, since: since)
      }
      return
    }
    let head = inner.headOfAnswer(loop)
    // An answer whose rest nobody reads is an answer.
    let reason = inner.isOverlong && head != nil ? .none : inner.reason
    let status = reason == .none ? head?.status ?? 0 : 0
    let text = reason == .none ? SagaRunner.body(inner, head) : Array("\(reason.name)".utf8)
    let outcome = SagaRun.outcome(status: status, reason: reason, attempts: inner.attempts)
    if loop.keepsAccess { note(inner, held, call, startedAt, status, AttemptEntry.Outcome(outcome, inner.attempts)) }
    let wall = SystemClock.wall()
    var outputs: [SagaRun.Output] = []
    held.run.ended(
      call, outcome, SagaAnswer(at: wall, status: status, text: text), now: wall, using: &random, doing: &outputs)
    carryOut(outputs, held)
    proceed(line, slots: to.slots)
  }

  private static func body(_ inner: InnerCall, _ head: ResponseHead?) -> [UInt8] {
    guard let head, !inner.isOverlong else { return [] }
    let body = inner.bytes.readableBytesView.dropFirst(head.length)
    return body.count <= SagaAnswer.textBytesMax ? Array(body) : []
  }

  // MARK: - How it went

  private func settle(_ held: Held, _ verdict: Settlement.Verdict) {
    guard case .extend = verdict else { return settler.settle(held.leased, verdict, in: work.log) }
    settler.settle(held.leased, verdict, in: work.log) { [self] result in extended(held, result) }
  }

  private func extended(_ held: Held, _ result: SettleResult?) {
    var outputs: [SagaRun.Output] = []
    switch result {
    case .extended(let until)?: held.run.extended(until: WallTime(milliseconds: until))
    case .lost?: held.run.leaseLost(doing: &outputs)
    default: held.run.extended(until: nil)
    }
    carryOut(outputs, held)
  }
}

extension ProxyLoop {
  /// The sagas of the newest plan.
  func bringSagas(_ configuration: ProxyConfiguration) {
    for (name, runner) in sagaRunners where !configuration.sagas.contains(where: { $0.name == name }) {
      runner.stop()
      sagaRunners[name] = nil
    }
    for work in configuration.sagas {
      if let runner = sagaRunners[work.name] {
        runner.moved(to: work)
      } else {
        sagaRunners[work.name] = SagaRunner(work, loop: self)
      }
    }
  }

  func stopSagas() { for runner in sagaRunners.values { runner.stop() } }
}
