// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirModel

/// Bodies that may be changed up to a size which the gateway refuses before.
enum JSONLimitAboveBody: Rule {
  static let info = RuleInfo(
    "json-limit-above-body", .routing, .warning, title: "Bodies may be changed up to a size that is refused before",
    why:
      "A body that is larger than `gateway.body` is refused with 413 before its route looks at it. A `json.max` above that reads "
      + "as if such bodies were taken and changed, and no request ever gets so far: with `body: 32KiB` and `max: 64KiB` one of "
      + "40 KiB is refused, and the route's own limit is not why.",
    detection: "`json` of a route that changes requests, with a written `max` above the gateway's `body`",
    formula: "json.max > gateway.body",
    mend: "Lower `max` to the gateway's `body`, or raise that.",
    falsePositives:
      "A route whose answers are changed, too, and are larger than its requests. Accept it with the reason.")

  static func find(_ subject: Subject) -> [Finding] {
    subject.design.gateways.flatMap { gateway in
      gateway.routes.compactMap { route in
        guard let json = route.transform.json, json.request != nil, let place = json.most.place,
          json.most.value.count > gateway.body.value.count
        else { return nil }
        let name = route.name.text
        let (most, body) = (size(json.most.value), size(gateway.body.value))
        return info.finding(
          "\(name) changes bodies of up to \(most), and the gateway takes none above \(body)", at: place,
          spot: place.entry, caret: "above \(body)", why: "what is larger is refused before its route is asked",
          mend: "max: \(body)", acceptAt: route.name.place,
          inputs: [
            Finding.Input("json.max of \(name)", most, place), Finding.Input("gateway.body", body, gateway.body.place),
          ], result: "413 above \(body)")
      }
    }
  }

  private static func size(_ bytes: Bytes) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] where bytes.count % (1 << shift) == 0 {
      return "\(bytes.count >> shift)\(unit)"
    }
    return "\(bytes.count)B"
  }
}
