// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirBase
import WeirFlows
import WeirMessaging
import WeirModel
import WeirPatterns
import WeirProxy
import WeirTelemetry
import WeirWire

/// What an operator asks of sagas: looks at them, and says what became of a step that nobody knows of.
///
/// It waits for nobody but the state process. An order is an entry of the saga's journal; whoever runs it finds that out.
final class SagaOffice: Sendable {
  static let pageMax = 200

  private let census = Census<String, Status.Saga>()

  /// A plan is in force.
  func enter(_ plan: Plan, _ server: ProxyServer) { census.enter(plan.sagas.map(\.name), server) }

  /// As they were counted last; nil where there is none, or while nobody can say.
  var last: [Status.Saga]? { census.last }

  func count() { census.count { await self.all() } }

  /// The sagas of the file, in its order; nil while nobody can say.
  func all() async -> [Status.Saga]? {
    let tallies = census.server?.sagaTallies ?? [:]
    var sagas: [Status.Saga] = []
    for name in census.things {
      guard case .counts(let counts) = await census.ask(.look(queue: SagaAPI.log(name), .counts)) else { return nil }
      let tally = tallies[name] ?? SagaTally()
      let ended = tally.finished + tally.compensated
      sagas.append(
        Status.Saga(
          name: name, running: Int(counts.waiting + counts.delayed + counts.inFlight), stuck: Int(counts.dead),
          finished: tally.finished, compensated: tally.compensated, turned: tally.turned,
          mean: ended == 0 ? nil : Double(tally.milliseconds) / 1000 / Double(ended),
          seconds: Double(tally.milliseconds) / 1000))
    }
    return sagas
  }

  private func isKnown(_ saga: String) -> Bool { census.things.contains(saga) }
  private static func mayBeID(_ id: String) -> Bool { (1...QueueLimits.idBytesMax).contains(id.utf8.count) }

  private static let states: [String: MessageState] = [
    "waiting": .waiting, "delayed": .delayed, "in-flight": .inFlight, "stuck": .dead,
  ]

  /// What was looked for.
  enum Found<Thing: Sendable>: Sendable {
    case found(Thing)
    case none
    /// Nobody can say now.
    case unanswered
  }

  /// None for a saga or a state that there is none of.
  func instances(
    _ saga: String, _ state: String, _ after: Int64, _ limit: Int
  ) async -> Found<Status.SagaInstances> {
    guard let state = SagaOffice.states[state], after >= 0, isKnown(saga) else { return .none }
    let limit = min(max(1, limit), SagaOffice.pageMax)
    let reply = await census.ask(.look(queue: SagaAPI.log(saga), .list(state, after: after, limit: UInt16(limit))))
    guard case .messages(let views) = reply else { return .unanswered }
    var found: [Status.SagaInstance] = []
    for view in views {
      guard let journal = await journal(saga, view.id) else { return .unanswered }
      found.append(SagaOffice.shown(view.id, journal, view))
    }
    return .found(Status.SagaInstances(instances: found, next: views.count == limit ? views.last?.sequence : nil))
  }

  func instance(_ saga: String, _ id: String) async -> Found<Status.SagaInstance> {
    guard SagaOffice.mayBeID(id), isKnown(saga) else { return .none }
    guard let journal = await journal(saga, Array(id.utf8)),
      case .message(let view) = await census.ask(.look(queue: SagaAPI.log(saga), .message(id: Array(id.utf8))))
    else { return .unanswered }
    if journal.isEmpty && view == nil { return .none }
    return .found(SagaOffice.shown(Array(id.utf8), journal, view))
  }

  /// The bodies of a journal's commits; nil while nobody can say.
  private func journal(_ saga: String, _ id: [UInt8]) async -> [[UInt8]]? {
    var bodies: [[UInt8]] = []
    while true {
      let reply = await census.ask(
        .read(log: SagaAPI.log(saga), key: id, after: Int64(bodies.count), limit: SagaAPI.pageMax, wait: 0))
      guard case .entries(let entries) = reply else { return nil }
      if entries.isEmpty { return bodies }
      bodies += entries.map(\.body)
    }
  }

  private static func shown(_ id: [UInt8], _ journal: [[UInt8]], _ view: MessageView?) -> Status.SagaInstance {
    let id = String(decoding: id, as: UTF8.self)
    guard let history = SagaHistory(journal) else {
      let isDead = view?.state == .dead
      var instance = Status.SagaInstance(id: id, state: isDead ? "stuck" : "waiting")
      if isDead { instance.cause = view?.history.last?.error ?? view?.death.map(Answering.word) }
      return instance
    }
    func text(_ answer: SagaAnswer?) -> String? {
      answer.flatMap { $0.text.isEmpty ? nil : String(decoding: $0.text, as: UTF8.self) }
    }
    return Status.SagaInstance(
      id: id, state: history.state.rawValue, cause: history.causeWords, begunAt: history.begunAt.rfc3339,
      wakesAt: history.isOver
        ? nil : history.nextWake.flatMap { $0.milliseconds > 4_000_000_000_000 ? nil : $0.rfc3339 },
      steps: history.steps.enumerated().map { index, step in
        Status.SagaInstance.Step(
          number: index + 1, act: step.script.act, undo: step.script.undo, state: step.word, attempts: step.attempts,
          undoAttempts: step.undoAttempts, status: Int(step.answer?.status ?? 0), answer: text(step.answer),
          undoStatus: Int(step.undoAnswer?.status ?? 0), undoAnswer: text(step.undoAnswer))
      })
  }

  // MARK: - Orders

  func order(
    _ saga: String, _ id: String, _ word: Status.SagaOrder.Word, _ order: Status.SagaOrder
  ) async -> Status.QueueOutcome {
    guard isKnown(saga) else {
      let names = census.things
      return refused(
        "there is no saga '\(saga)'" + (names.isEmpty ? "" : "; there are: \(names.joined(separator: ", "))"))
    }
    guard SagaOffice.mayBeID(id) else { return refused("'\(saga)' has none of the id '\(id)'") }
    guard let journal = await journal(saga, Array(id.utf8)) else { return unanswered }
    guard let history = SagaHistory(journal) else {
      return refused(
        journal.isEmpty
          ? "'\(saga)' has none of the id '\(id)' that was begun"
          : "the journal of '\(id)' cannot be read by this version")
    }
    let body: [UInt8]
    let text: String
    switch word {
    case .steer:
      guard let step = order.step, let verdict = order.verdict else { return refused("name a step and what is of it") }
      guard history.steps.indices.contains(step - 1) else {
        return refused("'\(id)' has the steps 1 to \(history.steps.count)")
      }
      let said: WeirPatterns.Saga.Verdict =
        switch verdict {
        case .done: .isDone
        case .notDone: .isNotDone
        case .again: .tryAgain
        }
      guard let entry = history.steering(step - 1, said) else {
        let state = history.steps[step - 1].word
        return refused(
          state == "stuck"
            ? "the undo of step \(step) of '\(id)' is stuck: say not-done when it was undone by hand, or again"
            : "step \(step) of '\(id)' is \(state), and not stuck")
      }
      body = entry
      text = "step \(step) of '\(id)' is \(verdict == .again ? "tried again" : verdict.rawValue)"
    case .turnBack:
      guard let entry = history.turning else {
        return refused(
          history.state == .running
            ? "'\(id)' has a step under way that nothing undoes: it is too early to say"
            : "'\(id)' is \(history.state.rawValue): it cannot be turned back")
      }
      body = entry
      text = "'\(id)' turns back"
    }
    let entry = NewEntry(
      id: Array(UUID().uuidString.utf8), key: Array(id.utf8), body: body, expected: Int64(journal.count))
    switch await census.ask(.append(log: SagaAPI.log(saga), [entry])) {
    case .appended: break
    case .conflict: return refused("'\(id)' has moved on meanwhile: look again")
    case .failed(.full): return refused("there is no room on the disk")
    default: return unanswered
    }
    return await goOn(saga, id, text)
  }

  /// A saga that has come to rest is taken up again; one that is under way learns of the order by itself.
  private func goOn(_ saga: String, _ id: String, _ text: String) async -> Status.QueueOutcome {
    guard case .message(let view) = await census.ask(.look(queue: SagaAPI.log(saga), .message(id: Array(id.utf8))))
    else {
      return unanswered
    }
    guard let view else {
      return refused("\(text), and it is not in the queue any more: begin it again with the same id, and it goes on")
    }
    if view.state == .dead {
      guard case .steered(1) = await census.ask(.steer(queue: SagaAPI.log(saga), .redrive([view.sequence]))) else {
        return refused("\(text); take it up again with: weir queue redrive \(SagaAPI.log(saga)) \(id)")
      }
    }
    return Status.QueueOutcome(isDone: true, count: 1, text: text)
  }

  private func refused(_ text: String) -> Status.QueueOutcome { Status.QueueOutcome(isDone: false, text: text) }

  private var unanswered: Status.QueueOutcome {
    refused("the state process does not answer; see logs/weir.state.log in the state folder")
  }
}

extension Plane {
  /// How sagas are and have ended, for metrics.
  static func sagaFamilies(_ sagas: [Status.Saga]) -> [Snapshot.Family] {
    if sagas.isEmpty { return [] }
    var live = Snapshot.Family("weir_sagas", .gauge, "Instances of a saga that are under way, or stuck.")
    var ended = Snapshot.Family("weir_sagas_ended_total", .counter, "Instances of a saga that ended, by how.")
    var turned = Snapshot.Family("weir_sagas_turned_total", .counter, "Instances of a saga that turned back.")
    var seconds = Snapshot.Family(
      "weir_sagas_seconds_total", .counter, "What instances that ended took together, from their acceptance on.")
    for saga in sagas {
      let label = [(name: "saga", value: saga.name)]
      live.add(label + [(name: "state", value: "running")], Double(saga.running))
      live.add(label + [(name: "state", value: "stuck")], Double(saga.stuck))
      ended.add(label + [(name: "state", value: "finished")], Double(saga.finished))
      ended.add(label + [(name: "state", value: "compensated")], Double(saga.compensated))
      turned.add(label, Double(saga.turned))
      seconds.add(label, saga.seconds ?? 0)
    }
    return [live, ended, turned, seconds]
  }
}
