// SPDX-License-Identifier: Apache-2.0
import WeirBase
package import WeirFlows

/// Events for people: one line, in the words of the file.
package enum EventText {
  package struct Place: Sendable, Equatable {
    package var caller: String?
    package var service: String
    package var instance: String?
  }

  package static func place(_ event: Event, names: Names) -> Place {
    var place = Place(caller: nil, service: "", instance: nil)
    var service: Int?
    if event.edge != RequestFacts.none {
      let edge = names.edges[Int(event.edge)]
      place.caller = edge.caller
      place.service = edge.callee
      service = edge.service
    } else if event.service != RequestFacts.none {
      service = Int(event.service)
      place.service = names.services[Int(event.service)]
    }
    if event.instance != CallStep.nobody, let service {
      place.instance = names.instance(Int(event.instance), of: service)
    }
    return place
  }

  /// `breaker-opened api-2 (from gateway), for 30.0 s`.
  package static func text(_ event: Event, names: Names) -> String {
    let place = place(event, names: names)
    var text = "\(event.kind.name) \(place.instance ?? place.service)"
    if let caller = place.caller { text += " (from \(caller))" }
    if event.until > event.at {
      let tenths = event.until.since(event.at) / 100_000_000
      text += ", for \(tenths / 10).\(tenths % 10) s"
    }
    if event.reason != .none { text += ": \(event.reason.name)" }
    return text
  }
}
