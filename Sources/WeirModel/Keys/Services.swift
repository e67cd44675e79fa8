// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
package import WeirPatterns

/// One entry of `services:`.
enum ServiceKeys {
  static let owner = ScalarKey(
    "owner", .text("a team or person", example: "team-orders"), rule: "the system's owner", "Who answers for it.")
  static let run = Key(
    "run", .section(RunKeys.section), "The program that Weir starts, once for each instance.",
    alias: ["command", "cmd", "exec", "start"])
  static let at = Key(
    "at", Shape.list(.scalar(.endpoint), least: 1).or(.scalar(.endpoint)).orLater(map: true),
    "Addresses of instances that run elsewhere.", alias: ["url", "urls", "address", "host", "endpoints"])
  static let instances = ScalarKey(
    "instances", .count(1...1000), default: 1, rule: "service.instances (one, a finding where it matters)",
    "How many of them run.", alias: ["replicas", "scale-to", "count"],
    shape: Shape.scalar(ScalarType<Int>.count(1...1000)).orLater(map: true))
  static let health = Key(
    "health", .section(HealthKeys.section), "How Weir learns whether an instance can be used.",
    alias: ["healthcheck", "health-check", "readiness"])
  static let balance = ScalarKey(
    "balance", ScalarType<Balance>.word, default: Balance(Balancer.Settings().algorithm),
    rule: "service.balance (two random choices by peak EWMA)", "Which instance a request goes to.",
    alias: ["load-balancing", "lb"])
  static let atOnce = ScalarKey(
    "at-once", .count(1...1_000_000), default: AtOnce.Settings().limit, rule: "service.at-once",
    "Requests that one instance works on at the same time; the rest waits in Weir.", alone: ["none"],
    alias: ["concurrency", "workers", "max-concurrency"])
  static let queue = Key(
    "queue", .section(QueueKeys.section), "Who waits when every instance works on `at-once` requests.")
  static let calls = Key(
    "calls", .named(.components("a service or store"), .section(CallKeys.section)),
    "What it calls, and how.", alias: ["depends-on", "dependencies", "uses"])
  static let operations = Key(
    "operations", .named(.operations, .section(OperationKeys.section)),
    "What requests of one kind do; without it any request makes every call, in order, once.", modelOnly: true)
  static let work = Key(
    "work", .section(WorkKeys.section), "Its own time for a request, without its calls.", modelOnly: true)
  static let availability = ScalarKey(
    "availability", .share(zero: false), rule: "always there", "The share of time that what runs elsewhere is up.",
    modelOnly: true)
  static let cancels = ScalarKey(
    "cancels", .bool, default: false, rule: "service.cancels (programs work on after their caller has gone)",
    "Whether it stops working on a request whose caller has given up.", modelOnly: true)
  static let deploy = Key(
    "deploy", .section(DeployKeys.section), "How a new version is brought out.")

  static let section = Section(
    name: "service", doc: "A program that answers requests.",
    keys: [
      owner.key, run, at, instances.key, health, balance.key, atOnce.key, queue, calls, operations, work,
      availability.key, cancels.key, deploy,
      .later("runbook", "What to do when it fails."),
      .later("image", "A container image to start."),
      .later("machine", "The kind of machine an instance needs."),
      .later("scale", "When instances are added and removed."),
      .later("sends", "Queues and topics that it writes to."),
      .later("migrations", "Changes of the database before a deployment."),
    ])
}

/// `run:`.
enum RunKeys {
  static let command = ScalarKey(
    "command", .reference("a command", example: "api --port $PORT"), required: true,
    "The program and its arguments, quoted as in a shell but run without one; `$PORT`, `$WEIR_URL` and "
      + "`$NOTES_DB_URL` are put in.", alias: ["cmd", "argv", "exec"])
  static let env = Key(
    "env", .named(.variables, .scalar(.reference("text", example: "info"))),
    "Variables of its environment; it gets no others but `PATH`, `HOME`, `LANG`, `TZ` and those that Weir makes.",
    alias: ["environment"])
  static let after = Key(
    "after", .list(.scalar(.name)), "What must be ready before it starts, beside what it calls.",
    alias: ["depends-on"])
  static let directory = ScalarKey(
    "directory", .text("a folder", example: "api"), default: ".", rule: "run.directory (the file's own)",
    "Where it runs, relative to the file.", alias: ["cwd", "dir", "workdir", "working-directory"])

  static let section = Section(
    name: "run", doc: "A program that Weir starts.", keys: [command.key, env, after, directory.key],
    short: command.key)
}

extension Shape.Names {
  static let variables = Shape.Names(
    what: "a variable",
    problem: { text in
      let fine =
        !text.isEmpty && text.utf8.first.map { !(48...57).contains($0) } ?? false
        && text.utf8.allSatisfy {
          (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || $0 == 95
        }
      if !fine { return "a variable has letters, digits and _, and does not begin with a digit" }
      return text == "PORT" || text == "WEIR_URL" ? "\(text) is set by Weir" : nil
    }, pattern: "^[A-Za-z_][A-Za-z0-9_]*$")

  static let operations = Shape.Names(
    what: "an operation",
    problem: { text in
      let parts = text.split(separator: " ", omittingEmptySubsequences: false)
      guard parts.count == 2, methodNames.contains(String(parts[0])) else {
        return "an operation is a method and a path: GET /api/notes"
      }
      if case .wrong(let wrong) = ScalarType<String>.routePath.read(String(parts[1])) { return wrong.message }
      return nil
    }, pattern: "^[A-Z]+ /[^ ]*$")
}

/// `health:`.
enum HealthKeys {
  static let ready = ScalarKey(
    "ready", .urlPath, "Asked by GET: 2xx means that it takes requests.", alias: ["readiness", "path"])
  static let live = ScalarKey(
    "live", .urlPath, rule: "only its exit counts",
    "Asked by GET: when it fails in a row, the instance is restarted.", alias: ["liveness"])
  static let startWithin = ScalarKey(
    "start-within", .duration(), default: HealthMonitor.Settings().startWithin, rule: "health.start-within",
    "A program that is not ready by then has failed to start.", alias: ["start-timeout", "start-period"])
  static let every = ScalarKey(
    "every", .duration(), default: HealthMonitor.Settings().every, rule: "health.every", "How often it is asked.",
    alias: ["interval", "period"])
  static let timeout = ScalarKey(
    "timeout", .duration(), default: HealthMonitor.Settings().timeout, rule: "health.timeout",
    "A question without an answer by then counts as failed.")

  static let section = Section(
    name: "health", doc: "How Weir learns whether an instance can be used.",
    keys: [ready.key, live.key, startWithin.key, every.key, timeout.key], short: ready.key)
}

/// `queue:`.
enum QueueKeys {
  static let length = ScalarKey(
    "length", .count(0...1_000_000), default: WaitingRoom.Settings().length, rule: "queue.length",
    "How many may wait; the next is refused at once.", alias: ["size", "max"])
  static let wait = ScalarKey(
    "wait", .duration(), default: WaitingRoom.Settings().wait, rule: "queue.wait (a fifth of the default timeout)",
    "How long one may wait.", alias: ["timeout"])

  static let section = Section(
    name: "queue", doc: "Who waits.",
    keys: [length.key, wait.key, .later("order", "Who is served first: `fifo`, `lifo`, `codel`.")])
}

/// `deploy:`.
enum DeployKeys {
  static let surge = ScalarKey(
    "surge", .surge, "Instances in addition while a new version comes up; what `connection-storm` counts with.",
    refused: [(.run, "weir run does not bring out versions yet")])

  static let section = Section(
    name: "deploy", doc: "How a new version is brought out.",
    keys: [
      surge.key,
      .later("strategy", "`rolling`, `canary`, `blue-green`."),
      .later("steps", "Shares of the traffic that a canary gets."),
      .later("each", "How long a step lasts."),
      .later("judge", "What a canary is judged by."),
      .later("drain", "How long old instances may finish."),
    ])
}

extension ScalarType where T == Surge {
  static var surge: ScalarType {
    let count = ScalarType<Int>.count(0...1000)
    let share = ScalarType<Double>.share()
    return ScalarType(
      words: "a number of instances or a share of them", example: "25%",
      schema: .object([("oneOf", .array([count.schema, share.schema]))]),
      read: { text in
        if text.hasSuffix("%") {
          switch share.read(text) {
          case .value(let value): return .value(.share(value))
          case .wrong(let wrong): return .wrong(.init(wrong.message, mend: wrong.mend))
          }
        }
        switch count.read(text) {
        case .value(let value): return .value(.count(value))
        case .wrong(let wrong): return .wrong(.init(wrong.message, mend: wrong.mend))
        }
      },
      write: { surge in
        switch surge {
        case .count(let n): String(n)
        case .share(let value): plain(value * 100) + "%"
        }
      })
  }
}

extension Balance {
  /// The word for the balancer's algorithm.
  init(_ algorithm: Balancer.Algorithm) {
    switch algorithm {
    case .peakEWMA: self = .peakEWMA
    case .leastRequest: self = .leastRequest
    case .roundRobin: self = .roundRobin
    }
  }

  package var algorithm: Balancer.Algorithm {
    switch self {
    case .peakEWMA: .peakEWMA
    case .leastRequest: .leastRequest
    case .roundRobin: .roundRobin
    }
  }
}
