// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirFlows
internal import WeirPatterns

/// One entry of `calls:`.
enum CallKeys {
  static let timeout = ScalarKey(
    "timeout", .duration(), default: CallSettings().timeout, rule: "call.timeout",
    "The longest that a call may take in all, waits and retries included.", alias: ["deadline"])
  static let attempt = ScalarKey(
    "attempt", .duration(), rule: "half of timeout where another attempt can follow",
    "The longest that one attempt may take.",
    alias: ["attempt-timeout", "per-try-timeout"])
  static let connect = ScalarKey(
    "connect", .duration(), default: CallSettings().connect, rule: "call.connect",
    "The longest that connecting may take, within an attempt.", alias: ["connect-timeout"])
  static let retry = Key(
    "retry", .section(RetryKeys.section), "When a failed call is tried again.", alias: ["retries"])
  static let breaker = Key(
    "breaker", .section(BreakerKeys.section), "When calls stop for a while, because they fail anyway.",
    alias: ["circuit-breaker", "circuitbreaker"])
  static let atOnce = ScalarKey(
    "at-once", .count(1...1_000_000), rule: "no limit",
    "Calls of one instance of the caller at the same time: what is slow cannot take all of it.", alone: ["none"],
    alias: ["bulkhead", "concurrency"])
  static let connections = ScalarKey(
    "connections", .count(1...100_000), "Connections that one instance of the caller holds: its pool.",
    alias: ["pool", "pool-size", "max-connections"])
  static let optional = ScalarKey(
    "optional", .bool, default: false, rule: "call.optional",
    "Whether the caller lives without it: it does not count against the caller's availability, and gets its fallback.")
  static let fallback = Key(
    "fallback",
    Shape.section(FallbackKeys.section).or(Shape(scalars: [AnyScalar(word: "omit")])).orLater(words: ["stale"]),
    "What the caller gets instead when the call fails: `omit`, or `{ answer: … }`.")

  static let section = Section(
    name: "call", doc: "How one component calls another.",
    keys: [
      timeout.key, attempt.key, connect.key, retry, breaker, atOnce.key, connections.key, optional.key, fallback,
      .later("hedge", "A second attempt beside a slow first one."),
    ])
}

/// `fallback:`.
enum FallbackKeys {
  static let answer = ScalarKey(
    "answer", .text("the body of an answer", example: "\"[]\""), required: true, "The body that is answered, with 200.")
  static let section = Section(
    name: "fallback", doc: "What is answered instead.",
    keys: [answer.key, .later("to", "Another component that answers.")])
}

/// `retry:`.
enum RetryKeys {
  static let attempts = ScalarKey(
    "attempts", .count(1...10), required: false, default: RetryRule.Settings().attempts,
    rule: "retry.attempts (3, the first included)", "Attempts in all, the first included: 1 is no retry.",
    alias: ["max", "count", "tries", "max-attempts", "num-retries"])
  static let backoff = Key(
    "backoff", .section(BackoffKeys.section), "How long to wait before the next attempt.", alias: ["back-off", "delay"])
  static let budget = ScalarKey(
    "budget", .share(), default: RetryBudget.Settings().share, rule: "retry.budget (20 %, as Envoy and Finagle)",
    "Retries that are made at most, as a share of first tries.")

  static let section = Section(
    name: "retry", doc: "When a failed call is tried again.", keys: [attempts.key, backoff, budget.key],
    short: attempts.key)
}

/// `backoff:`.
enum BackoffKeys {
  static let first = ScalarKey(
    "first", .duration(atLeastZero: true), default: Backoff.Settings().first,
    rule: "backoff.first (100 ms, seed 002)",
    "The wait after the first failed attempt; each next one is twice as long.",
    alias: ["initial", "base", "base-interval"])
  static let max = ScalarKey(
    "max", .duration(), default: Backoff.Settings().max, rule: "backoff.max (twice the default timeout)",
    "No wait is longer.", alias: ["max-interval", "cap"])
  static let jitter = ScalarKey(
    "jitter", .share(), default: Backoff.Settings().jitter, rule: "backoff.jitter (50 %, seed 002)",
    "The share of a wait that chance adds, so that callers do not come back together.")

  static let section = Section(
    name: "backoff", doc: "Waits between attempts.", keys: [first.key, max.key, jitter.key], short: first.key)
}

/// `breaker:`.
enum BreakerKeys {
  private static let standard = CircuitBreaker.Settings()

  static let failures = ScalarKey(
    "failures", .share(zero: false), default: standard.failures, rule: "breaker.failures (half)",
    "The share of failed calls that opens it.", alias: ["threshold", "failure-rate"])
  static let ofAtLeast = ScalarKey(
    "of-at-least", .count(1...100_000), default: standard.ofAtLeast, rule: "breaker.of-at-least (20, as Hystrix)",
    "Calls that must be in the window before a share counts.", alias: ["minimum", "request-volume-threshold"])
  static let within = ScalarKey(
    "within", .duration(), default: standard.windowLength, rule: "breaker.within (10 s, as Hystrix)",
    "The window that is looked at.", alias: ["window"])
  static let rest = ScalarKey(
    "rest", .duration(), default: standard.rest, rule: "breaker.rest (30 s, seed 002)",
    "How long it refuses before a probe may pass; longer each time in a row.",
    alias: ["open", "reset", "sleep-window", "timeout", "wait"])
  static let inARow = ScalarKey(
    "in-a-row", .count(0...1000), default: standard.inARow, rule: "breaker.in-a-row (5, as Envoy)",
    "Failures in a row that open it while fewer than `of-at-least` calls are in the window (with more, so many); 0: none do.",
    alias: ["consecutive", "consecutive-failures"])
  static let slow = ScalarKey(
    "slow", .duration(), rule: "half of timeout", "A call that takes longer is slow; half slow ones open it too.")

  static let section = Section(
    name: "breaker", doc: "When calls stop for a while.",
    keys: [failures.key, ofAtLeast.key, within.key, rest.key, inARow.key, slow.key],
    alone: [AnyScalar(word: "none")])
}

extension CircuitBreaker.Settings {
  /// The window's length; of a window that counts calls the language knows nothing.
  var windowLength: Duration {
    switch window {
    case .time(let length): length
    default: .seconds(10)
    }
  }
}

/// One entry of `operations:`.
enum OperationKeys {
  static let does = Key(
    "does", .list(.step), default: "every call, in order, once",
    "Its calls, in order; an inner list is made at the same time.", modelOnly: true)
  static let work = Key(
    "work", .section(WorkKeys.section), default: "the service's work", "Its own time, without its calls.",
    modelOnly: true)

  static let section = Section(
    name: "operation", doc: "What requests of one kind do.", keys: [does, work])
}

/// A step of `does:` as a map.
enum StepKeys {
  static let `do` = ScalarKey(
    "do", ScalarType<Target>.target, required: true, "The call: one of `calls`, or a method, its name and a path.",
    modelOnly: true)
  static let share = ScalarKey(
    "share", .share(), default: 1, rule: "step.share (every request)", "The share of the requests that make it.",
    modelOnly: true)
  static let optional = ScalarKey(
    "optional", .bool, rule: "as the call", "Whether the operation lives without it.", modelOnly: true)

  static let section = Section(
    name: "step", doc: "One call of an operation.", keys: [`do`.key, share.key, optional.key], short: `do`.key)
}

extension Shape {
  /// A call, a map with its share, or a list of those that are made at the same time.
  static var step: Shape {
    var shape = Shape.section(StepKeys.section)
    shape.list = List(item: { .step }, least: 1)
    return shape
  }
}

/// Where something goes, as written: `catalog`, `POST mailer/send`, `GET /api/products/*`.
struct Target: Sendable, Equatable {
  var method: String?
  /// Nil: through the gateway.
  var component: String?
  var path: String?

  var text: String {
    let place = (component ?? "") + (path ?? "")
    return method.map { "\($0) \(place)" } ?? place
  }
}

extension ScalarType where T == Target {
  static var target: ScalarType {
    ScalarType(
      words: "a component (api), its operation (GET api/notes), or a path of the gateway (GET /api/notes)",
      example: "GET /api/notes",
      schema: .object([
        ("type", .string("string")), ("pattern", .string("^([A-Z]+ )?([a-z0-9-]*)(/[^ ]*)?$")),
      ]),
      read: { text in
        var target = Target()
        var rest = Substring(text)
        if let space = rest.firstIndex(of: " ") {
          let method = String(rest[..<space])
          guard methodNames.contains(method) else {
            return .wrong(
              .init("'\(method.prefixForMessage)' is no method: \(methodNames.joined(separator: ", "))"))
          }
          target.method = method
          rest = rest[rest.index(after: space)...]
        }
        let slash = rest.firstIndex(of: "/")
        let name = String(rest[..<(slash ?? rest.endIndex)])
        if let slash { target.path = String(rest[slash...]) }
        if !name.isEmpty {
          if let problem = nameProblem(name) { return .wrong(.init(problem)) }
          target.component = name
        }
        if target.component == nil && target.path == nil { return .wrong(.init()) }
        if target.path != nil && target.method == nil {
          return .wrong(.init("a path needs a method before it", mend: "GET \(text)"))
        }
        if let path = target.path, case .wrong(let wrong) = ScalarType<String>.routePath.read(path) {
          return .wrong(.init(wrong.message, mend: wrong.mend))
        }
        return .value(target)
      },
      write: { $0.text })
  }
}
