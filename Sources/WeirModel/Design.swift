// SPDX-License-Identifier: Apache-2.0
package import WeirBase

/// A described system, whole: every name resolved, every default set, every value knows where it comes from.
///
/// Made by ``ModelReader`` from a file without mistakes; immutable from then on. Things stand in the order of the file
/// and refer to each other by their index in these arrays, which is safe because a design is never changed.
package struct Design: Sendable, Equatable {
  /// The file it was read from, as named on the command line.
  package var file: String
  package var system: Value<String>
  package var owner: Value<String>?
  package var requirements: Requirements
  /// One in this version, called `gateway`; none for a system that is only modelled.
  package var gateways: [Gateway]
  package var services: [Service]
  package var stores: [Store]
  package var queues: [MessageQueue] = []
  package var jobs: [Job] = []
  package var topics: [Topic] = []
  package var streams: [EventStream] = []
  package var sagas: [Saga] = []
  package var webhooks: [Webhook] = []
  package var traffic: [Traffic]
  package var scenarios: [Scenario]
  package var acceptances: [Acceptance]
  package var tenants: Tenants?
  package var state: StateKeeping?
  /// Texts of the file that may carry a secret, with their places: what the rule `literal-secret` reads.
  package var texts: [Value<Text>]
  /// Keys that are understood but that some verb cannot honour yet: see ``unsupported(for:)``.
  package var refusals: [Refusal]

  package struct Refusal: Sendable, Equatable {
    package var verb: Verb
    package var diagnostic: Diagnostic
  }

  /// What `verb` must refuse of this design: errors with their lines, none if it can honour all of it.
  package func unsupported(for verb: Verb) -> [Diagnostic] {
    refusals.filter { $0.verb == verb }.map(\.diagnostic)
  }
}

/// The verbs that act on a design and may not be able to honour all of it.
package enum Verb: String, Sendable, CaseIterable {
  case check, simulate, run, drill
}

/// A thing with a name of its own in the file: what `to:`, `calls:` and `sends:` name.
package enum Component: Sendable, Hashable {
  /// Index in `Design.services`.
  case service(Int)
  /// Index in `Design.stores`.
  case store(Int)
  /// Index in `Design.queues`: sent to, never called.
  case queue(Int)
  /// Index in `Design.topics`.
  case topic(Int)
  /// Index in `Design.streams`.
  case stream(Int)
  /// Index in `Design.sagas`.
  case saga(Int)
}

extension Design {
  package func name(of component: Component) -> Name {
    switch component {
    case .service(let index): services[index].name
    case .store(let index): stores[index].name
    case .queue(let index): queues[index].name
    case .topic(let index): topics[index].name
    case .stream(let index): streams[index].name
    case .saga(let index): sagas[index].name
    }
  }

  /// The component called `name`, if there is one: services, stores and what is sent to share one namespace.
  package func component(named name: String) -> Component? {
    if let index = services.firstIndex(where: { $0.name.text == name }) { return .service(index) }
    if let index = stores.firstIndex(where: { $0.name.text == name }) { return .store(index) }
    if let index = queues.firstIndex(where: { $0.name.text == name }) { return .queue(index) }
    if let index = topics.firstIndex(where: { $0.name.text == name }) { return .topic(index) }
    if let index = streams.firstIndex(where: { $0.name.text == name }) { return .stream(index) }
    if let index = sagas.firstIndex(where: { $0.name.text == name }) { return .saga(index) }
    return nil
  }
}

// MARK: - Requirements

/// What the system must reach: read by check and by the verdict of simulate.
package struct Requirements: Sendable, Equatable {
  /// Where `requirements:` stands; nil if the file has none (a finding: `no-requirements`).
  package var place: Place?
  package var availability: Value<Double>?
  package var latency: [LatencyBound]
  /// Requests a second that it must stand: the verdict plays `traffic` scaled to it.
  package var load: Value<Rate>?
  /// In a scenario: how many messages may be lost.
  package var lostMessages: Value<Int>?
  /// In a scenario: how many events may be worked on after a later one of their key, and how many twice.
  package var outOfOrder: Value<Int>?
  package var doneTwice: Value<Int>?
  /// In a scenario: how many sagas may be neither done nor undone for good.
  package var halfDone: Value<Int>?
  /// In a scenario: how long a message may wait, and how long a backlog may take to go.
  package var lag: Value<Duration>?
  package var drain: Value<Duration>?
}

/// `p99: 250ms`.
package struct LatencyBound: Sendable, Equatable {
  /// 0.99 for `p99`, 0.999 for `p99.9`; nil for `mean`.
  package var quantile: Double?
  /// As written: `p99`.
  package var label: String
  package var bound: Value<Duration>
}

// MARK: - Operations

/// What requests of one kind do: `GET /api/notes: { does: [notes-db] }`.
package struct Operation: Sendable, Equatable {
  package var place: Place
  package var method: String
  package var path: String
  package var does: [Step]
  /// Done twice it is done once, as far as the Idempotency-Key tells that it is the same.
  package var idempotent: Value<Bool>
  /// Replaces the service's work for this operation.
  package var work: Work?
}

/// A step of an operation, in order; an inner list is done at the same time.
package indirect enum Step: Sendable, Equatable {
  case call(CallStep)
  case send(SendStep)
  case together([Step])
}

package struct CallStep: Sendable, Equatable {
  /// Index in the service's `calls`.
  package var call: Value<Int>
  /// Method and path of the callee's operation, when it is said; index in its `operations`.
  package var operation: Int?
  /// Share of the requests that make this call.
  package var share: Value<Double>
  /// Overrides the call's.
  package var optional: Value<Bool>?
}

/// A message that an operation leaves behind.
package struct SendStep: Sendable, Equatable {
  /// Index in the service's `sends`.
  package var send: Value<Int>
  /// Share of the requests that send it.
  package var share: Value<Double>
}

// MARK: - Work

/// Own service time of a component, without its calls.
package struct Work: Sendable, Equatable {
  package var place: Place
  package var shape: Value<Shape>
  /// As written, in the order of the file: `median: 4ms`, `p99: 25ms`.
  package var points: [Point]
  package var distribution: Distribution
  /// From the start of the process until it is ready: modelled.
  package var start: Value<Duration>?

  package enum Shape: String, Sendable, CaseIterable { case lognormal, exponential, constant }

  package struct Point: Sendable, Equatable {
    package var label: String
    /// Nil for `mean`.
    package var quantile: Double?
    package var value: Value<Duration>
  }

  /// What the simulator draws from; in nanoseconds.
  package enum Distribution: Sendable, Equatable {
    /// e^(ln(median) + sigma·Z).
    case lognormal(median: Double, sigma: Double)
    case exponential(mean: Double)
    case constant(Double)
  }
}

// MARK: - Stores

/// Something that keeps data, called by the programs themselves.
package struct Store: Sendable, Equatable {
  package var name: Name
  package var owner: Value<String>?
  package var engine: Value<Engine>
  /// The file of an embedded store, relative to the Weir file.
  package var path: Value<String>?
  /// `host:port` of one that runs elsewhere.
  package var at: [Value<Text>]
  /// How Weir itself reaches it: a connection string of libpq.
  package var connection: Value<Text>?
  /// The table in which programs leave messages, in one transaction with their data.
  package var outbox: Value<String>?
  /// Connections that the server takes.
  package var maxConnections: Value<Int>?
  /// Connections that a pooler in front of it holds; nil without one.
  package var pool: Value<Int>?
  /// Requests that it works on at the same time; nil for no limit.
  package var atOnce: Value<Int>?
  /// Of any request, or of reads if `write` is given.
  package var work: Work?
  package var write: Work?

  package enum Engine: String, Sendable, CaseIterable { case sqlite, postgres, mysql, other }
}

// MARK: - Traffic and scenarios

/// Requests that come from outside, whatever happens (an open loop).
package struct Traffic: Sendable, Equatable {
  package var name: Name
  package var to: Value<Destination>
  package var rate: Value<Rate>
  /// How many different clients send it: limits by client count them apart.
  package var clients: Value<Int>?
}

/// Where a request goes: through the gateway, or to a component.
package enum Destination: Sendable, Equatable {
  /// `GET /api/products/*`: with the gateway's route it takes, and for each of the route's services its operation if
  /// it declares it.
  case gateway(method: String, path: String, gateway: Int, route: Int, operations: [Int?], mirror: Int?)
  /// `catalog`, `POST mailer/send`.
  case component(Component, method: String?, path: String?, operation: Int?)
}

/// A story that is simulated, and played on the running system.
package struct Scenario: Sendable, Equatable {
  package var name: Name
  package var length: Value<Duration>
  /// The time of day when it begins.
  package var clock = ScenarioKeys.clock.initial
  package var traffic: [Multiplier]
  package var faults: [Fault]
  package var expect: Requirements

  /// `browse: x5`, or `browse: { times: x5, when: 1m, for: 30s }`.
  package struct Multiplier: Sendable, Equatable {
    /// Index in `Design.traffic`.
    package var traffic: Int
    package var times: Value<Double>
    /// From the story's beginning.
    package var when = CrowdKeys.when.initial
    /// Nil: to the story's end.
    package var length: Value<Duration>?
  }
}

package struct Fault: Sendable, Equatable {
  package var place: Place
  package var when: Value<Duration>
  package var kind: Kind
  /// How long it lasts.
  ///
  /// Of `kill`: nil means until Weir has restarted it; else it stays away so long.
  package var length: Value<Duration>?

  package enum Kind: Sendable, Equatable {
    /// So many instances end at once.
    case kill(Value<Component>, count: Value<Int>)
    /// A share of the requests takes longer by so much.
    case slow(Value<Component>, by: Value<Duration>, share: Value<Double>)
    /// A share of the requests is answered with this status.
    case fail(Value<Component>, status: Value<Int>, share: Value<Double>)
    /// A share of the messages comes later by so much.
    case delay(Messages, by: Value<Duration>)
    /// A share of the messages comes again, so much later.
    case double(Messages, by: Value<Duration>)
  }

  /// Which messages it is that something happens to on their way.
  package struct Messages: Sendable, Equatable {
    /// A queue, topic or stream.
    package var to: Value<Component>
    package var share: Value<Double>
    /// At most so many; nil for all that are meant.
    package var count: Value<Int>?
    /// Index in `Design.services`: only what this one sends.
    package var from: Value<Int>?
  }
}

// MARK: - Acceptances

/// A finding that somebody has decided to live with.
package struct Acceptance: Sendable, Equatable {
  package var place: Place
  package var rule: Value<String>
  /// A path into the file: `services.search`; it covers what stands below it.
  package var at: Value<String>
  package var because: Value<String>?
  package var owner: Value<String>?
  package var until: Value<Day>?
}

/// A day of the calendar.
package struct Day: Sendable, Hashable, Comparable {
  package var year: Int
  package var month: Int
  package var day: Int

  package init?(year: Int, month: Int, day: Int) {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
    let lengths = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    guard (1...9999).contains(year), (1...12).contains(month), (1...lengths[month - 1]).contains(day) else {
      return nil
    }
    self.year = year
    self.month = month
    self.day = day
  }

  /// `2027-06-30`.
  package init?(_ text: String) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0].utf8.count == 4, parts[1].utf8.count == 2, parts[2].utf8.count == 2,
      parts.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } }),
      let year = Int(parts[0]), let month = Int(parts[1]), let day = Int(parts[2])
    else { return nil }
    self.init(year: year, month: month, day: day)
  }

  package static func < (a: Day, b: Day) -> Bool { (a.year, a.month, a.day) < (b.year, b.month, b.day) }

  /// How many days it is from this one to `other`; negative when that is over.
  package func days(until other: Day) -> Int { Int(other.number - number) }

  /// `2027-06-30`.
  package var text: String {
    func padded(_ n: Int, _ width: Int) -> String {
      let digits = String(n)
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
  }
}

// MARK: - Texts with references

/// A text of the file in which `$(env:NAME)`, `$(secret:name)` and `$(file:path)` stand for what is read at run time.
package struct Text: Sendable, Equatable {
  /// As written.
  package var raw: String
  package var parts: [Part]

  package enum Part: Sendable, Equatable {
    case literal(String)
    case env(String)
    case secret(String)
    case file(String)
  }

  /// Whether nothing of it is read at run time.
  package var isLiteral: Bool {
    parts.allSatisfy { if case .literal = $0 { true } else { false } }
  }
}
