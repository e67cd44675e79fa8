// SPDX-License-Identifier: Apache-2.0
import WeirBase

extension Forecast {
  /// What is required of messages and sagas.
  ///
  /// What is counted must hold in every story: one that is lost is lost. Times are those of the worst queue of a story.
  static func messageVerdicts(_ expectation: Expectation, _ seen: [Observation]) -> [Verdict] {
    var verdicts: [Verdict] = []
    func count(_ name: String, _ required: Int?, _ value: (Observation) -> Double) {
      if let required { verdicts.append(verdict(name, atMost: required, seen.map(value))) }
    }
    count("lost messages", expectation.lostMessages) { $0.messages.reduce(0) { $0 + $1.lost } }
    count("messages out of order", expectation.outOfOrder) { $0.messages.reduce(0) { $0 + $1.overtaken } }
    count("messages done twice", expectation.doneTwice) { $0.messages.reduce(0) { $0 + $1.twice } }
    count("sagas half done", expectation.halfDone) { $0.sagas.reduce(0) { $0 + $1.halfDone } }
    if let required = expectation.lag {
      let estimate = Estimating.mean(seen.map { $0.messages.map(\.oldest).max() ?? 0 })
      verdicts.append(
        Verdict(
          name: "lag", required: required, isLatency: true, estimate: estimate,
          outcome: Verdict.atMost(required, estimate)))
    }
    if let required = expectation.drain {
      // One that has not ended takes longer than the story.
      let isOpen = seen.contains { $0.messages.contains { $0.drain < 0 } }
      let estimate = Estimating.mean(
        seen.map { story in story.messages.map { $0.drain < 0 ? story.length * 1e9 : $0.drain }.max() ?? 0 })
      verdicts.append(
        Verdict(
          name: "drain", required: required, isLatency: true, estimate: estimate,
          outcome: isOpen ? .missed : Verdict.atMost(required, estimate)))
    }
    return verdicts
  }

  private static func verdict(_ name: String, atMost required: Int, _ counts: [Double]) -> Verdict {
    let mean = counts.isEmpty ? 0 : counts.reduce(0, +) / Double(counts.count)
    let most = counts.max() ?? 0
    return Verdict(
      name: name, required: Double(required), isLatency: false, isCount: true,
      estimate: Estimate(mean, low: counts.min() ?? 0, high: most),
      outcome: most <= Double(required) ? .met : .missed)
  }

  static func saga(_ name: String, _ lengths: [Double], _ sums: [SagaSums]) -> Saga {
    let ended = sums.reduce(0) { $0 + $1.finished + $1.compensated }
    return Saga(
      name: name, begun: Estimating.ratio(sums.map(\.begun), lengths),
      finished: Estimating.ratio(sums.map(\.finished), lengths),
      compensated: ended > 0 ? sums.reduce(0) { $0 + $1.compensated } / ended : 0,
      stuck: Estimating.mean(sums.map(\.stuck)), leftDone: Estimating.mean(sums.map(\.leftDone)),
      underWay: Estimating.ratio(zip(sums, lengths).map { $0.underWay * $1 }, lengths),
      time: Latency(sums.map(\.times)), calls: Estimating.ratio(sums.map(\.calls), sums.map(\.begun)))
  }
}
