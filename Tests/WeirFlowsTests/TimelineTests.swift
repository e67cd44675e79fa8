// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Lines of an instant (ms), a call and what happens to it, and behind the bar what must be answered.
///
/// One loop and its node, one edge. Driven as a driver does it, but merges, which come when the loop is urgent and in the
/// line `merge`.
struct Timeline {
  private var flows: LoopFlows
  private var node: NodeFlows
  private var slots: [Character: Slot] = [:]
  private var questions: [Character: CallAction.Question] = [:]

  init(_ plan: FlowPlan) {
    node = NodeFlows(plan: plan, seed: 1)
    flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
  }

  /// The lines whose answer is another one, with what came instead.
  static func play(_ text: String, _ plan: FlowPlan) -> [String] {
    var timeline = Timeline(plan)
    var wrong: [String] = []
    for line in text.split(separator: "\n") {
      let halves = line.split(separator: "|", maxSplits: 1).map(Self.trimmed)
      guard halves.count == 2 else { return ["no bar: \(line)"] }
      let words = halves[0].split(separator: " ").map { String($0) }
      guard words.count >= 2, let when = Int64(words[0]) else { return ["no instant and input: \(line)"] }
      guard let got = timeline.feed(words.dropFirst().map { $0 }, now: at(when)) else {
        return ["no such input: \(line)"]
      }
      if got != halves[1] { wrong.append("\(halves[0]) | \(got)   instead of   \(halves[1])") }
    }
    return wrong
  }

  private mutating func feed(_ words: [String], now: Instant) -> String? {
    if words == ["merge"] { return tell(now: now, always: true) }
    guard words.count > 1, let name = words[0].first else { return nil }
    if words[1] == "begin" {
      var facts = RequestFacts()
      if words.last == "unsafe" { facts.method = .unsafe }
      let (slot, step) = flows.begin(call: 0, facts: facts, now: now)
      slots[name] = slot
      return show(step, name, now: now)
    }
    guard let slot = slots[name], flows.calls.isLive(slot) else { return "over" }
    let step: CallStep
    switch words[1] {
    case "permit":
      var ticket: CircuitBreaker.Ticket?
      switch questions[name] {
      case .probeInstance(let index): ticket = node.permit(edge: 0, instance: index, now: now)
      case .probeService: ticket = node.permit(edge: 0, instance: nil, now: now)
      case .place, .retry, nil: return nil
      }
      step = flows.permit(slot, ticket, now: now)
    case "head":
      guard words.count > 2, let status = UInt16(words[2]) else { return nil }
      step = flows.head(slot, status: status, now: now)
    case "ended": step = flows.ended(slot, now: now)
    case "refused": step = flows.failed(slot, .connectRefused, now: now)
    case "lost": step = flows.failed(slot, .lostBeforeHead, now: now)
    case "wake": step = flows.wake(slot, now: now)
    case "gone": step = flows.callerGone(slot, now: now)
    default: return nil
    }
    return show(step, name, now: now)
  }

  private mutating func show(_ first: CallStep, _ name: Character, now: Instant) -> String {
    var step = first
    // A retry is asked for in every line that rests, and granted at once: the lines show what comes of it.
    if case .ask(.retry(let told)) = step.action, let slot = slots[name] {
      let isGranted = node.retry(edge: 0, told, now: now)
      step = flows.permit(slot, isGranted ? CircuitBreaker.Ticket(epoch: 0) : nil, now: now)
    }
    var parts: [String] = []
    switch step.action {
    case .none: parts.append("nothing")
    case .attempt(let instance, let number): parts.append("attempt \(number) on \(instance)")
    case .hedge(let instance, let number): parts.append("hedge \(number) on \(instance)")
    case .ask(.probeInstance(let instance)):
      questions[name] = .probeInstance(instance)
      parts.append("ask to probe \(instance)")
    case .ask(.probeService):
      questions[name] = .probeService
      parts.append("ask to probe the callee")
    case .ask(.place): parts.append("ask for a place")
    case .ask(.retry): parts.append("ask for a retry")
    case .wait: parts.append("wait until \(slots[name].map { flows.nextWake(of: $0).nanoseconds / ms } ?? 0)")
    case .answer: parts.append("answer")
    case .finish: parts.append("finish")
    case .refuse(let reason, let until):
      parts.append("refuse \(reason.name)" + (until == .zero ? "" : " until \(until.nanoseconds / ms)"))
    case .fallback(let reason): parts.append("fallback \(reason.name)")
    case .abort(let reason): parts.append("abort \(reason.name)")
    }
    if step.freed != CallStep.nobody { parts.append("frees \(step.freed)") }
    if step.cancels { parts.append("cancels") }
    let told = tell(now: now, always: false)
    if told != "nothing" { parts.append(told) }
    return parts.joined(separator: ", ")
  }

  /// Tells the node, if that is due, and says what it made of it.
  private mutating func tell(now: Instant, always: Bool) -> String {
    if always || flows.isUrgent(edge: 0) {
      if let delta = flows.takeDelta(edge: 0) { node.absorb(delta, now: now) }
      node.tick(now: now)
    }
    // The node answers with its view, as after a permit.
    flows.accept(node.view(0), edge: 0, now: now)
    let names = (node.takeEvents().events + flows.takeEvents().events).map { event in
      event.instance == CallStep.nobody ? "\(event.kind.name)" : "\(event.kind.name) \(event.instance)"
    }
    return names.isEmpty ? "nothing" : names.joined(separator: ", ")
  }

  private static func trimmed(_ text: Substring) -> String {
    var rest = text
    while rest.first == " " { rest.removeFirst() }
    while rest.last == " " { rest.removeLast() }
    return String(rest)
  }

  /// The blocks of a page that are fenced as `timeline`.
  static func blocks(of page: String) -> [String] {
    var blocks: [String] = []
    var inside = false
    for line in page.split(separator: "\n", omittingEmptySubsequences: false) {
      if inside && line == "```" {
        inside = false
      } else if inside {
        blocks[blocks.count - 1] += line + "\n"
      } else if line == "```timeline" {
        inside = true
        blocks.append("")
      }
    }
    return blocks
  }
}

/// Retry, breaker and probe in their order, to the millisecond.
@Suite struct TimelineTests {
  /// Two attempts, waits without chance; the callee's breaker opens after two calls in a row and rests 1 s.
  static func plan(instances: Int, edit: (inout CallSettings) -> Void = { _ in }) -> FlowPlan {
    onePlan(instances: instances) {
      $0.retry.attempts = 2
      $0.backoff.kind = .none
      $0.balance.algorithm = .roundRobin
      $0.instanceBreaker.inARow = 0
      $0.serviceBreaker.inARow = 2
      for breaker in [\CallSettings.instanceBreaker, \CallSettings.serviceBreaker] {
        $0[keyPath: breaker].rest = .seconds(1)
        $0[keyPath: breaker].restJitter = 0
        $0[keyPath: breaker].ramp = .zero
      }
      edit(&$0)
    }
  }

  @Test("the timeline of docs/flows.md is what happens")
  func page() throws {
    var path = "\(#filePath)"
    for _ in 0..<3 { path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) }
    let page = try #require(ReasonTests.read("\(path)/docs/flows.md"))
    let blocks = Timeline.blocks(of: page)
    #expect(blocks.count == 1)
    for block in blocks { #expect(Timeline.play(block, Self.plan(instances: 1)) == []) }
  }

  @Test("an instance's breaker: its probe fails, the caller is served elsewhere at once, and the rest grows by half")
  func instanceProbe() {
    let plan = Self.plan(instances: 2) {
      $0.instanceBreaker.inARow = 2
      $0.serviceBreaker.inARow = 0
    }
    #expect(
      Timeline.play(
        """
           0 a begin    | attempt 1 on 0
           1 a lost     | wait until 101, frees 0
         101 a wake     | attempt 2 on 1
         102 a head 200 | answer
         103 a ended    | finish, frees 1
         200 b begin    | attempt 1 on 0
         201 b lost     | wait until 301, frees 0, breaker-opened 0, instance-ejected 0
         301 b wake     | attempt 2 on 1
         302 b gone     | refuse caller-gone, frees 1, cancels
         400 c begin    | attempt 1 on 1
        1200 c head 200 | answer
        1200 d begin    | attempt 1 on 1
        1201 e begin    | ask to probe 0
        1201 e permit   | attempt 1 on 0, breaker-probing 0
        1201 f begin    | ask to probe 0
        1201 f permit   | attempt 1 on 1
        1202 e head 503 | attempt 2 on 1, frees 0, breaker-opened 0
        1203 e head 200 | answer
        1204 e ended    | finish, frees 1
        2701 g begin    | attempt 1 on 1
        2702 h begin    | ask to probe 0
        2702 h permit   | attempt 1 on 0, breaker-probing 0
        2703 h head 200 | answer, breaker-closed 0, instance-returned 0
        2704 h ended    | finish, frees 0
        """, plan) == [])
  }

  @Test("turned away at the door: tried at once where the last answer was good, on no budget; else as any failure")
  func turnedAway() {
    let plan = Self.plan(instances: 3) {
      $0.retry.attempts = 3
      $0.instanceBreaker.inARow = 4
      $0.serviceBreaker.inARow = 0
      $0.budget.floor = 0
      $0.budget.share = 0
    }
    #expect(
      Timeline.play(
        """
           0 a begin unsafe | attempt 1 on 0
           1 a refused      | refuse connect-failed, frees 0, retry-budget-spent
          10 b begin        | attempt 1 on 1
          11 b head 200     | answer
          12 b ended        | finish, frees 1
          20 c begin unsafe | attempt 1 on 2
          21 c refused      | attempt 2 on 0, frees 2
          22 c refused      | attempt 3 on 1, frees 0
          23 c refused      | refuse connect-failed, frees 1
          30 d begin        | attempt 1 on 2
          31 d refused      | refuse connect-failed, frees 2
        """, plan) == [])
  }

  @Test("unsafe calls leave a probe to others for a second; then one of them makes it, and its failure is passed on")
  func unsafeProbe() {
    let plan = Self.plan(instances: 2) {
      $0.instanceBreaker.inARow = 1
      $0.serviceBreaker.inARow = 0
    }
    #expect(
      Timeline.play(
        """
           0 a begin unsafe | attempt 1 on 0
           1 a head 500     | answer, breaker-opened 0, instance-ejected 0
        2000 b begin unsafe | attempt 1 on 1
        2001 c begin unsafe | ask to probe 0
        2001 c permit       | attempt 1 on 0, breaker-probing 0
        2002 c head 500     | answer, breaker-opened 0
        2003 c ended        | finish, frees 0
        """, plan) == [])
  }

  @Test("an instance that serves although it is in doubt is probed by any call at once: nobody better would come")
  func unsafeProbeOfOneThatServes() {
    let plan = Self.plan(instances: 1) {
      $0.instanceBreaker.inARow = 1
      $0.serviceBreaker.inARow = 0
    }
    #expect(
      Timeline.play(
        """
           0 a begin unsafe | attempt 1 on 0
           1 a head 500     | answer, breaker-opened 0
           2 a ended        | finish, frees 0
        1000 b begin unsafe | attempt 1 on 0
        1001 c begin unsafe | ask to probe 0
        1001 c permit       | attempt 1 on 0, breaker-probing 0
        1002 c head 200     | answer, breaker-closed 0
        """, plan) == [])
  }

  @Test("an optional call: the fallback says why, and that it began and ended is told once")
  func fallbacks() {
    #expect(
      Timeline.play(
        """
          0 a begin    | attempt 1 on 0
          1 a head 500 | fallback failed-answer, frees 0, cancels, fallback-began
         10 b begin    | attempt 1 on 0
         11 b refused  | wait until 111, frees 0
        111 b wake     | attempt 2 on 0
        112 b refused  | fallback connect-failed, frees 0, breaker-opened
        200 c begin    | fallback breaker-open
        1112 d begin   | ask to probe the callee
        1112 d permit  | attempt 1 on 0, breaker-probing
        1113 d head 404 | answer
        1114 d ended   | finish, frees 0, breaker-closed, fallback-ended
        """, Self.plan(instances: 1) { $0.optional = true }) == [])
  }
}
