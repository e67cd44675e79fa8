// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What a load did: how much was offered, what became of it, how long it took, second by second.
///
/// *ok* is 1xx to 3xx, *refused* 4xx (the caller was told no), *failed* 5xx or no response at all.
struct LoadReport: Sendable, Encodable {
  struct Counts: Sendable, Encodable {
    var offered = 0
    var ok = 0
    var refused = 0
    var failed = 0
  }

  /// In milliseconds, from the moment a request was due, of every request that got a response.
  struct Latency: Encodable {
    var mean, p50, p90, p99, p999, max: Double

    private enum CodingKeys: String, CodingKey { case mean, p50, p90, p99, p999 = "p99.9", max }

    /// nil of nothing: no latency is not a latency of 0.
    init?(_ tally: LatencyTally) {
      guard tally.count > 0 else { return nil }
      func milliseconds(_ nanoseconds: Double) -> Double { (nanoseconds / 1000).rounded() / 1000 }
      mean = milliseconds(tally.mean)
      p50 = milliseconds(Double(tally.quantile(0.5)))
      p90 = milliseconds(Double(tally.quantile(0.9)))
      p99 = milliseconds(Double(tally.quantile(0.99)))
      p999 = milliseconds(Double(tally.quantile(0.999)))
      max = milliseconds(Double(tally.maximum))
    }
  }

  /// One kind of request.
  struct Kind: Sendable, Encodable {
    var entry: LoadMix.Entry
    var counts = Counts()
    var tally = LatencyTally()
    var timeline: [Counts] = []

    private enum CodingKeys: String, CodingKey { case method, path, rate, counts, latency, timeline }

    func encode(to encoder: any Encoder) throws {
      var values = encoder.container(keyedBy: CodingKeys.self)
      try values.encode(entry.method, forKey: .method)
      try values.encode(entry.path, forKey: .path)
      try values.encode(entry.rate, forKey: .rate)
      try values.encode(counts, forKey: .counts)
      try values.encode(Latency(tally), forKey: .latency)
      try values.encode(timeline, forKey: .timeline)
    }
  }

  let seconds: Double
  private(set) var kinds: [Kind]
  private(set) var counts = Counts()
  private(set) var tally = LatencyTally()
  /// How late requests were written: waiting for a connection, or the generator itself.
  private(set) var lateness = LatencyTally()
  private(set) var statuses: [Int: Int] = [:]
  private(set) var failures: [ClientFailure: Int] = [:]
  private(set) var timeline: [Counts] = []

  init(mix: LoadMix, seconds: Double) {
    self.seconds = seconds
    kinds = mix.entries.map { Kind(entry: $0) }
    let slots = [Counts](repeating: Counts(), count: max(1, Int(seconds.rounded(.up))))
    timeline = slots
    for index in kinds.indices { kinds[index].timeline = slots }
  }

  var done: Int { tally.count }

  mutating func offered(kind: Int, second: Int) { add(\.offered, kind: kind, second: second) }

  mutating func sent(late: Int64) { lateness.record(late) }

  mutating func ended(kind: Int, second: Int, outcome: ClientOutcome, latency: Int64) {
    switch outcome {
    case .failed(let failure):
      failures[failure, default: 0] += 1
      add(\.failed, kind: kind, second: second)
    case .answered(let response):
      statuses[response.status, default: 0] += 1
      tally.record(latency)
      kinds[kind].tally.record(latency)
      switch response.status {
      case ..<400: add(\.ok, kind: kind, second: second)
      case ..<500: add(\.refused, kind: kind, second: second)
      default: add(\.failed, kind: kind, second: second)
      }
    }
  }

  /// Counts in the sum, the kind, and the second in which the request was due.
  private mutating func add(_ count: WritableKeyPath<Counts, Int>, kind: Int, second: Int) {
    let second = min(second, timeline.count - 1)
    counts[keyPath: count] += 1
    kinds[kind].counts[keyPath: count] += 1
    timeline[second][keyPath: count] += 1
    kinds[kind].timeline[second][keyPath: count] += 1
  }

  private enum CodingKeys: String, CodingKey {
    case schema, seconds, offered, offeredRate, done, throughput, ok, refused, failed, statuses, failures, latency
    case lateness, kinds, timeline
  }

  func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(1, forKey: .schema)
    try values.encode(seconds, forKey: .seconds)
    try values.encode(counts.offered, forKey: .offered)
    try values.encode(Double(counts.offered) / seconds, forKey: .offeredRate)
    try values.encode(done, forKey: .done)
    try values.encode(Double(done) / seconds, forKey: .throughput)
    try values.encode(counts.ok, forKey: .ok)
    try values.encode(counts.refused, forKey: .refused)
    try values.encode(counts.failed, forKey: .failed)
    try values.encode(
      Dictionary(uniqueKeysWithValues: statuses.map { ("\($0.key)", $0.value) }), forKey: .statuses)
    try values.encode(
      Dictionary(uniqueKeysWithValues: failures.map { ($0.key.rawValue, $0.value) }), forKey: .failures)
    try values.encode(Latency(tally), forKey: .latency)
    try values.encode(Latency(lateness), forKey: .lateness)
    try values.encode(kinds, forKey: .kinds)
    try values.encode(timeline, forKey: .timeline)
  }

  /// The report for people.
  var text: String {
    func rounded(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
    func line(_ latency: Latency?) -> String {
      guard let latency else { return "none" }
      return "mean \(latency.mean)  p50 \(latency.p50)  p90 \(latency.p90)  p99 \(latency.p99)  "
        + "p99.9 \(latency.p999)  max \(latency.max) ms"
    }
    let each = Double(counts.offered) / seconds
    var lines = [
      "offered     \(counts.offered) in \(rounded(seconds)) s: \(rounded(each))/s",
      "answered    \(done): \(rounded(Double(done) / seconds))/s",
      "outcome     ok \(counts.ok)  refused \(counts.refused)  failed \(counts.failed)",
    ]
    let byStatus = statuses.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
    if !byStatus.isEmpty { lines.append("statuses    " + byStatus.joined(separator: "  ")) }
    let byFailure = failures.sorted { $0.key.rawValue < $1.key.rawValue }.map { "\($0.key.rawValue): \($0.value)" }
    if !byFailure.isEmpty { lines.append("no answer   " + byFailure.joined(separator: "  ")) }
    lines.append("latency     " + line(Latency(tally)))
    lines.append("sent late   " + line(Latency(lateness)))
    if kinds.count > 1 {
      for kind in kinds {
        lines.append("\(kind.entry.method) \(kind.entry.path)")
        lines.append(
          "  offered \(kind.counts.offered)  ok \(kind.counts.ok)  refused \(kind.counts.refused)  "
            + "failed \(kind.counts.failed)")
        lines.append("  " + line(Latency(kind.tally)))
      }
    }
    let bad = timeline.enumerated().filter { $0.element.failed > 0 }
    if !bad.isEmpty {
      lines.append("failed by second: " + bad.map { "\($0.offset): \($0.element.failed)" }.joined(separator: "  "))
    }
    return lines.joined(separator: "\n")
  }
}
