// SPDX-License-Identifier: Apache-2.0

/// One entry of `traffic:`.
enum TrafficKeys {
  static let to = ScalarKey(
    "to", ScalarType<Target>.trafficTarget, required: true, "Where the requests go.", modelOnly: true)
  static let rate = ScalarKey(
    "rate", .rate, required: true, "How many come, whatever happens to them.", modelOnly: true,
    shape: Shape.scalar(.rate).orLater(map: true))
  static let clients = ScalarKey(
    "clients", .count(1...1_000_000_000), rule: "each request from a client of its own",
    "How many different clients they come from: limits by client tell them apart.", modelOnly: true)

  static let section = Section(
    name: "traffic", doc: "Requests that come in.",
    keys: [
      to.key, rate.key, clients.key,
      .later("users", "How many people there are: a closed loop."),
      .later("think", "How long one pauses between requests."),
      .later("does", "What one does in turn."),
      .later("keys", "Which keys are asked for, and how unevenly."),
      .later("from", "Which regions it comes from."),
      .later("identity", "Who the clients are."),
    ])
}

/// One entry of `scenarios:`.
enum ScenarioKeys {
  static let length = ScalarKey("for", .duration(), required: true, "How long it is played.", modelOnly: true)
  static let clock = ScalarKey(
    "clock", .timeOfDay, default: .zero, rule: "scenario.clock (midnight)",
    "The time of day at its beginning, in UTC: for jobs that run at theirs. The day is a Monday, the 5th of a month.",
    modelOnly: true)
  static let traffic = Key(
    "traffic", .named(.plain("traffic"), .section(CrowdKeys.section)), "Traffic that is more or less than usual.",
    modelOnly: true)
  static let faults = Key(
    "faults", .list(.section(FaultKeys.section)), "What goes wrong, and when.", modelOnly: true)
  static let expect = Key(
    "expect", .section(RequirementKeys.expectSection), default: "requirements", "What must hold in it.",
    modelOnly: true)

  static let section = Section(
    name: "scenario", doc: "A story of load and failures.", keys: [length.key, clock.key, traffic, faults, expect])
}

/// One entry of a scenario's `traffic:`.
enum CrowdKeys {
  static let times = ScalarKey(
    "times", .times, required: true, "How many times what is usual; `x0`: none.", modelOnly: true)
  static let when = ScalarKey(
    "when", .duration(atLeastZero: true), default: .zero, rule: "crowd.when (from the beginning)",
    "When it begins, from the start of the scenario.", modelOnly: true)
  static let length = ScalarKey(
    "for", .duration(), rule: "to the end of the scenario", "How long it lasts.", modelOnly: true)

  static let section = Section(
    name: "crowd", doc: "Traffic of a scenario that is more or less than usual.",
    keys: [times.key, when.key, length.key], short: times.key)
}

/// One item of `faults:`.
enum FaultKeys {
  static let when = ScalarKey(
    "when", .duration(atLeastZero: true), required: true, "When it begins, from the start of the scenario.",
    modelOnly: true)
  static let length = ScalarKey(
    "for", .duration(), rule: "to the end of the scenario; killed instances until Weir has started them again",
    "How long it lasts.", modelOnly: true)
  static let kill = ScalarKey("kill", .name, "Instances of this service end at once.", modelOnly: true)
  static let slow = ScalarKey("slow", .name, "Requests to this component take longer.", modelOnly: true)
  static let fail = ScalarKey(
    "fail", .name,
    "Requests to this component are answered with an error; of a queue, topic or stream: messages that come in meanwhile, whenever they are delivered.",
    modelOnly: true)
  static let delay = ScalarKey(
    "delay", .name,
    "Messages to this queue, topic or stream come late: others of their key, sent after them, overtake them.",
    modelOnly: true)
  static let double = ScalarKey(
    "double", .name,
    "Messages to this queue, topic or stream come twice, as if their sender had heard no answer: the same event, as a message of its own.",
    modelOnly: true)
  static let count = ScalarKey(
    "count", .count(1...1_000_000), rule: "one instance; of messages all that their share is",
    "With kill: how many instances. With delay and double: how many messages at most.", modelOnly: true)
  static let by = ScalarKey(
    "by", .duration(), "With slow and delay: how much longer. With double: how much later the second comes.",
    modelOnly: true)
  static let from = ScalarKey(
    "from", .name, rule: "whoever sends", "With delay and double: only what this service sends.", modelOnly: true)
  static let share = ScalarKey(
    "share", .share(zero: false), default: 1, rule: "fault.share (every request)",
    "With slow, fail, delay and double: the share of requests or messages.", modelOnly: true)
  static let status = ScalarKey(
    "status", .count(400...599, words: "a status"), default: 500, rule: "fault.status", "With fail: the answer.",
    modelOnly: true)

  static let section = Section(
    name: "fault", doc: "Something that goes wrong.",
    keys: [
      when.key, length.key, kill.key, slow.key, fail.key, delay.key, double.key, count.key, by.key, from.key, share.key,
      status.key,
      .later("cut", "Two regions do not reach each other."),
      .later("lose", "A zone or region is gone."),
      .later("wipe", "A cache is empty."),
      .later("deploy", "A new version is brought out."),
      .later("version", "With deploy: which."),
      .later("errors", "With deploy: the share of its requests that fail."),
    ])
}

/// One item of `accept:`.
enum AcceptKeys {
  static let rule = ScalarKey(
    "rule", .text("a rule", example: "single-instance"), required: true, "The finding's id.")
  static let place = ScalarKey(
    "place", .text("a place", example: "services.search"), required: true,
    "Where: a path into the file; what stands below it is covered too.")
  static let because = ScalarKey(
    "because", .text("a reason", example: "pages work without it"), required: true, "Why it is right here.",
    alias: ["reason", "why"])
  static let owner = ScalarKey(
    "owner", .text("a team or person", example: "platform-team"), required: true, "Who has decided it.")
  static let until = ScalarKey(
    "until", .day, rule: "for good", "When it must be decided anew.", alias: ["expires"])

  static let section = Section(
    name: "accept", doc: "A finding that somebody has decided to live with.",
    keys: [rule.key, place.key, because.key, owner.key, until.key])
}
