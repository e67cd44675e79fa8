// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Findings that somebody has decided to live with, and what can be wrong with such a decision.
///
/// An entry covers findings of its one rule at its one place and below; never another rule, never another place. An
/// expired one covers nothing. What is found about acceptances cannot itself be accepted: that would have no end.
enum Acceptances {
  static let expired = RuleInfo(
    "acceptance-expired", .acceptance, .warning, title: "An acceptance has run out",
    why: "Somebody decided to live with a finding until a day, and that day is over: the finding counts again. "
      + "Accepted until 2026-06-30 and checked on 2026-07-01, it is one day late.",
    detection: "an entry of accept whose `until` is before today (`--today`, else the calendar's)",
    formula: "until < today",
    mend: "Mend what was accepted, or decide anew and write a later day.",
    falsePositives: "A clock that is wrong; `--today` sets the day.", isAcceptable: false)

  static let unknown = RuleInfo(
    "acceptance-unknown", .acceptance, .error, title: "An acceptance names a rule that does not exist",
    why: "It covers nothing, and who wrote it believes that it does. `single-instances` for `single-instance` leaves "
      + "1 finding open.",
    detection: "an entry of accept whose `rule` is no rule's id, or the id of what cannot be accepted",
    formula: "rule ∉ rules that can be accepted",
    mend: "Write the id as it stands in brackets behind the finding.",
    falsePositives: "A file written for a newer Weir, whose rules this one does not know.", isAcceptable: false)

  static let unused = RuleInfo(
    "acceptance-unused", .acceptance, .warning, title: "An acceptance covers nothing",
    why: "What it accepted is mended or has moved. Left in the file, it would silently accept the next finding at that "
      + "place: 0 findings today, somebody else's tomorrow.",
    detection: "an entry of accept whose rule finds nothing at its place or below it",
    formula: "findings of rule at place or below = 0",
    mend: "Take the entry out, or write the place as the finding prints it.",
    falsePositives: "None: with the finding back, the entry can be written again.", isAcceptable: false)

  /// Marks what is accepted and adds what is wrong with the acceptances.
  static func apply(_ acceptances: [Acceptance], to findings: [Finding], today: Day) -> [Finding] {
    if acceptances.isEmpty { return findings }
    var findings = findings
    for acceptance in acceptances {
      let rule = acceptance.rule.value
      guard Rules.info(rule)?.isAcceptable == true else {
        findings.append(unknownRule(acceptance))
        continue
      }
      if let until = acceptance.until, until.value < today {
        findings.append(late(acceptance, until, today))
        continue
      }
      var count = 0
      for index in findings.indices
      where findings[index].rule == rule && covers(acceptance.at.value, findings[index].place.path) {
        count += 1
        if findings[index].acceptedBy == nil { findings[index].acceptedBy = acceptance }
      }
      if count == 0 { findings.append(nothing(acceptance)) }
    }
    return findings
  }

  /// Whether `path` is `place` or stands below it.
  static func covers(_ place: String, _ path: String) -> Bool {
    guard path.hasPrefix(place) else { return false }
    let next = path.utf8.dropFirst(place.utf8.count).first
    return next == nil || next == UInt8(ascii: ".") || next == UInt8(ascii: "[")
  }

  private static func late(_ acceptance: Acceptance, _ until: Value<Day>, _ today: Day) -> Finding {
    let rule = acceptance.rule.value
    let who = acceptance.owner.map { " by \($0.value)" } ?? ""
    let why = acceptance.because.map { "it was accepted\(who) because: \($0.value)" } ?? "it was accepted\(who)"
    return expired.finding(
      "the acceptance of \(rule) at \(acceptance.at.value) ended on \(until.value.text); today is \(today.text)",
      at: until.place ?? acceptance.place, why: why + "; the finding counts again",
      mend: "decide anew and write a later day, or mend the finding and take this entry out",
      inputs: [
        Finding.Input("until", until.value.text, until.place), Finding.Input("today", today.text),
      ], result: "\(until.value.text) < \(today.text)")
  }

  private static func unknownRule(_ acceptance: Acceptance) -> Finding {
    let rule = acceptance.rule.value
    let isKnown = Rules.info(rule) != nil
    let names = Rules.all.filter(\.isAcceptable).map(\.id)
    let meant = isKnown ? nil : Nearest.to(rule, among: names)
    return unknown.finding(
      isKnown
        ? "'\(rule)' cannot be accepted: 0 findings are covered by this"
        : "there is no rule '\(rule)', so this accepts 0 findings" + (meant.map { ": did you mean '\($0)'?" } ?? ""),
      at: acceptance.rule.place ?? acceptance.place,
      why: "the entry covers nothing, and what it was meant for stays open",
      mend: meant.map { "rule: \($0)" }
        ?? (isKnown ? "take the entry out" : "one of: \(names.joined(separator: ", "))"),
      inputs: [Finding.Input("rule", rule, acceptance.rule.place)], result: "0 findings covered")
  }

  private static func nothing(_ acceptance: Acceptance) -> Finding {
    let (rule, place) = (acceptance.rule.value, acceptance.at.value)
    return unused.finding(
      "\(rule) finds nothing at \(place) or below it: 0 findings are accepted here", at: acceptance.place,
      why: "left in the file, it would accept the next finding at this place without anybody deciding it",
      mend: "take this entry out",
      inputs: [
        Finding.Input("rule", rule, acceptance.rule.place), Finding.Input("place", place, acceptance.at.place),
      ], result: "0 findings")
  }
}
