// SPDX-License-Identifier: Apache-2.0
internal import WeirModel
internal import WeirPatterns

/// Retries that multiply from caller to caller.
enum RetryAmplification: Rule {
  /// Load that a service in trouble can get in addition without being kept down is little; three times as much is more
  /// than the reserve of any system that is run at a third of what it can do or more.
  static let factorMax = 3.0

  private static let attempts = RetryRule.Settings().attempts
  private static let budget = RetryBudget.Settings().share

  static let info = RuleInfo(
    "retry-amplification", .resilience, .error, title: "Retries multiply along a chain of calls",
    why: "Each caller that retries multiplies the calls of the one before it. Three callers in a row with "
      + "\(attempts) attempts make \(threefold(Double(attempts))) calls of 1 when the last one fails, which keeps it "
      + "down. A budget caps each caller at 1 + budget: with the default of \(Say.percent(budget)) the three make "
      + "\(threefold(1 + budget)).",
    detection: "the product over every chain of two or more calls that retry, at the last of them; circles are left to "
      + "call-cycle",
    formula: "∏ min(attempts, 1 + budget) ≥ \(Say.number(factorMax))",
    mend: "Retry in one place of the chain, or give the callers a smaller budget.",
    falsePositives: "Programs that pass `Weir-Retries` on: then only the outermost one retries. Chains that no request "
      + "goes as a whole, because operations differ.")

  /// `3 × 3 × 3 = 27`.
  private static func threefold(_ factor: Double) -> String {
    let text = Say.number(factor)
    return "\(text) × \(text) × \(text) = \(Say.number(factor * factor * factor))"
  }

  /// The worst way to a service: how it goes on from the caller's worst way.
  private struct Way {
    /// In the long run, within the budgets.
    var factor = 1.0
    /// For one request, the budgets unspent.
    var attempts = 1
    /// Calls on the way that retry.
    var retrying = 0
    var last: Hop?
  }
  private struct Hop {
    var caller: Int?
    var call: Call
  }

  static func find(_ subject: Subject) -> [Finding] {
    let services = subject.design.services
    var ways = [Way](repeating: Way(), count: services.count)
    for gateway in subject.design.gateways {
      for call in gateway.calls {
        guard case .service(let callee) = call.to.value else { continue }
        let way = extended(Way(), nil, call)
        if way.factor > ways[callee].factor { ways[callee] = way }
      }
    }
    var found: [Finding] = []
    for caller in subject.order {
      for call in services[caller].calls {
        let way = extended(ways[caller], caller, call)
        var goesOn = false
        if case .service(let callee) = call.to.value {
          if subject.isInCircle(caller, callee) { continue }
          if way.factor > ways[callee].factor { ways[callee] = way }
          goesOn = services[callee].calls.contains { factor(of: $0) > 1 }
        }
        // The last caller that retries is told; the ones before it are part of the same story.
        // A single one is capped at 1 + 100 %, which is less than `factorMax`: it takes two of them.
        if !goesOn, factor(of: call) > 1, way.factor >= factorMax {
          found.append(finding(way, hops(to: way, ways), call, subject))
        }
      }
    }
    return found
  }

  /// The calls of a way, from its first caller on.
  private static func hops(to way: Way, _ ways: [Way]) -> [Hop] {
    var hops: [Hop] = []
    var next = way.last
    while let hop = next {
      hops.append(hop)
      next = hop.caller.flatMap { ways[$0].last }
    }
    return hops.reversed()
  }

  private static func factor(of call: Call) -> Double {
    min(Double(call.retry.attempts.value), 1 + call.retry.budget.value)
  }

  private static func extended(_ way: Way, _ caller: Int?, _ call: Call) -> Way {
    let factor = factor(of: call)
    var way = way
    way.last = Hop(caller: caller, call: call)
    guard factor > 1 else { return way }
    way.factor *= factor
    let (attempts, overflow) = way.attempts.multipliedReportingOverflow(by: call.retry.attempts.value)
    way.attempts = overflow ? .max : attempts
    way.retrying += 1
    return way
  }

  private static func finding(_ way: Way, _ hops: [Hop], _ call: Call, _ subject: Subject) -> Finding {
    let names = hops.map { subject.name(of: $0.caller) } + [subject.design.name(of: call.to.value).text]
    let retrying = hops.filter { factor(of: $0.call) > 1 }
    let factors = retrying.map { Say.number(factor(of: $0.call)) }
    let product = (factors.count > 8 ? factors.prefix(7) + ["…"] : factors).joined(separator: " × ")
    let result = Say.number(way.factor)
    let written = call.retry.attempts.place?.under(call.place)
    let callee = names[names.count - 1]
    var inputs: [Finding.Input] = []
    for hop in retrying {
      let pair = "\(subject.name(of: hop.caller)) → \(subject.design.name(of: hop.call.to.value).text)"
      let retry = hop.call.retry
      inputs.append(Finding.Input("attempts of \(pair)", String(retry.attempts.value), retry.attempts.place))
      inputs.append(Finding.Input("budget of \(pair)", Say.percent(retry.budget.value), retry.budget.place))
    }
    return info.finding(
      "retries multiply along \(Say.chain(names)): \(result) calls for 1", at: written ?? call.place,
      spot: (written ?? call.place).head(orEntryOf: written),
      caret: "caller \(way.retrying) in a row that retries: \(product)",
      why: "when \(callee) slows down its load grows \(result)-fold, which keeps it down"
        + (way.attempts < .max ? "; one request can make \(way.attempts) calls" : ""),
      mend: mend(way.retrying), acceptAt: call.place, formula: "\(product) = \(result)",
      inputs: inputs, result: "\(result) calls for 1",
      related: retrying.dropLast().suffix(5).map {
        Diagnostic.Related(
          $0.call.place,
          "\(subject.name(of: $0.caller)) retries too: \($0.call.retry.attempts.value) attempts, budget "
            + Say.percent($0.call.retry.budget.value))
      })
  }

  /// One place that retries is enough; the default budget is, if the chain is short.
  private static func mend(_ retrying: Int) -> String {
    let one = "retry in one place of these \(retrying), and at the others:   retry: 1"
    let product = (0..<min(retrying, 64)).reduce(1.0) { product, _ in product * (1 + budget) }
    if product >= factorMax { return one }
    return one + "\nor cap each of them, for \(Say.number(product)) calls:   retry: { attempts: \(attempts), "
      + "budget: \(Say.percent(budget)) }"
  }
}
