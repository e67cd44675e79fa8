// SPDX-License-Identifier: Apache-2.0

/// One entry of `operations:`.
enum OperationKeys {
  static let does = Key(
    "does", .list(.step), default: "every call, in order, once",
    "Its calls, in order; an inner list is made at the same time.", modelOnly: true)
  static let work = Key(
    "work", .section(WorkKeys.section), default: "the service's work", "Its own time, without its calls.",
    modelOnly: true)

  static let idempotent = ScalarKey(
    "idempotent", .bool, rule: "true of PUT, DELETE and what reads, false of POST and PATCH",
    "Whether doing it twice with the same Idempotency-Key is doing it once: messages may be delivered twice.",
    alias: ["dedup", "once"])

  static let section = Section(
    name: "operation", doc: "What requests of one kind do.", keys: [does, idempotent.key, work])

  /// RFC 9110 §9.2.2.
  static func isIdempotent(_ method: String) -> Bool { method != "POST" && method != "PATCH" }
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

/// What stands for a method where a connection is meant.
let tcpMethod = "TCP"

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
  /// The same, or a connection that comes through a TCP listener: `TCP db`.
  static var trafficTarget: ScalarType {
    var type = target
    type.words += ", or a connection through a TCP listener (TCP db)"
    let read = type.read
    type.read = { text in
      guard let name = text.wholeMatch(of: /TCP +([^ ]*)/)?.1 else { return read(text) }
      if let problem = nameProblem(String(name)) {
        return .wrong(.init("'TCP' and the component that a TCP listener leads to: \(problem)", mend: "TCP my-db"))
      }
      return .value(Target(method: tcpMethod, component: String(name)))
    }
    return type
  }

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

extension Shape.Names {
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
