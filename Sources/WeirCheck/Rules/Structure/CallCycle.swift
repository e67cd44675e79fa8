// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Services that call each other in a circle.
enum CallCycle: Rule {
  static let info = RuleInfo(
    "call-cycle", .structure, .warning, title: "Calls go round in a circle",
    why: "Each service holds a worker while it waits for the next, and the first one is needed again at the end: with "
      + "16 workers, 16 requests at the same time hold all of them and wait for a 17th. None of them can be "
      + "started, brought out or understood without the others.",
    detection: "services whose calls lead back to themselves (strongly connected components); one finding for each, at "
      + "the call that closes the shortest circle from the service that the file names first",
    formula: "a → … → a",
    mend: "Take one call out: let one side send an event, or move what both need into a third service.",
    falsePositives: "A service that answers the second request without calling on, by its operations: the worker is "
      + "still held twice, but nothing goes round for ever.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    var seen: [Int] = []
    var members = [Int](repeating: 0, count: subject.design.services.count)
    for circle in subject.circles { members[circle] += 1 }
    for first in subject.design.services.indices where !seen.contains(subject.circles[first]) {
      let callsItself = subject.design.services[first].calls.contains { $0.to.value == .service(first) }
      guard callsItself || members[subject.circles[first]] > 1 else { continue }
      guard let circle = shortest(from: first, subject), let last = circle.last else { continue }
      seen.append(subject.circles[first])
      guard
        let call = subject.design.services[last].calls.first(where: { $0.to.value == .service(first) })
      else { continue }
      let names = (circle + [first]).map { subject.name(of: $0) }
      let atOnce = subject.design.services[first].atOnce
      let held =
        atOnce.map { "\($0.value) requests at once hold all \($0.value) workers of" } ?? "requests hold workers of"
      let rest = circle.dropFirst().isEmpty ? "itself" : "the others"
      found.append(
        info.finding(
          "calls go round: \(Say.chain(names)), \(circle.count) \(circle.count == 1 ? "call" : "calls") until the "
            + "first one again", at: call.place, spot: call.place.head, caret: "closes the circle",
          why: "\(held) an instance of \(names[0]), and wait for \(rest) that wait for it",
          mend: "take '\(names[0])' out of the calls of '\(subject.name(of: last))'",
          formula: names.joined(separator: " → "),
          inputs: [
            Finding.Input("calls in the circle", String(circle.count), call.place),
            Finding.Input("at-once of \(names[0])", atOnce.map { String($0.value) } ?? "none", atOnce?.place),
          ], result: "\(circle.count) calls"))
    }
    return found
  }

  /// The services of the shortest way from `first` back to it (breadth first), without the last step.
  private static func shortest(from first: Int, _ subject: Subject) -> [Int]? {
    let services = subject.design.services
    var cameFrom: [Int?] = Array(repeating: nil, count: services.count)
    var line = [first]
    var head = 0
    while head < line.count {
      let here = line[head]
      head += 1
      for call in services[here].calls {
        guard case .service(let callee) = call.to.value, subject.isInCircle(here, callee) else { continue }
        if callee == first {
          var way = [here]
          while let before = cameFrom[way[0]] { way.insert(before, at: 0) }
          return way
        }
        guard cameFrom[callee] == nil else { continue }
        cameFrom[callee] = here
        line.append(callee)
      }
    }
    return nil
  }
}
