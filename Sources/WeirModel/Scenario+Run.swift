// SPDX-License-Identifier: Apache-2.0

extension Design {
  package func scenario(named name: String) -> Scenario? { scenarios.first { $0.name.text == name } }
}

extension Scenario {
  /// What `weir run` cannot play of it: errors with their lines, none if it can play all.
  ///
  /// What is expected is no part of that: it is judged by `simulate`.
  package var unplayable: [Diagnostic] {
    let faults = faults.compactMap { fault -> Diagnostic? in
      let word: String
      switch fault.kind {
      case .delay, .double: return nil
      case .kill: word = FaultKeys.kill.name
      case .slow: word = FaultKeys.slow.name
      case .fail: word = FaultKeys.fail.name
      }
      return Diagnostic(
        "not-supported", .error, "weir run plays what 'delay' and 'double' do to messages, and not '\(word)' yet",
        at: fault.place, spot: fault.place.head, mend: "weir simulate --scenario \(name.text)")
    }
    let traffic = traffic.compactMap { multiplier -> Diagnostic? in
      guard let place = multiplier.times.place else { return nil }
      return Diagnostic(
        "not-supported", .error, "weir run has no traffic of its own: it cannot make more of it", at: place,
        spot: place.value, mend: "weir simulate --scenario \(name.text)")
    }
    return faults + traffic
  }
}
