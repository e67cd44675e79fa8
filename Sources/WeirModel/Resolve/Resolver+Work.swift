// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import WeirBase

extension Resolver {
  /// `work:` as a distribution; nil if it says no time at all, or makes no sense, which is reported.
  mutating func work(_ fields: Fields) -> Work? {
    var points: [Work.Point] = []
    for point in WorkKeys.points {
      if let value = fields.value(point.key) {
        points.append(Work.Point(label: point.key.name, quantile: point.quantile, value: value))
      }
    }
    // A store's work may hold `read` and `write` only; one with a mistake was reported.
    guard let first = points.first else {
      let isReported = fields.node.isReported || fields.node.entries.contains { $0.value.isReported }
      let isSplit = fields.node.entry("read") != nil || fields.node.entry("write") != nil
      if !isReported && !isSplit && !isStoreWithLimitOnly(fields) {
        mistake(
          "missing-key", "'\(fields.node.place.path)' says no time", at: fields.node.place,
          spot: fields.node.place.head,
          mend: "work: { median: 4ms, p99: 25ms }")
      }
      return nil
    }
    let shape = Layers([fields]).valueOrInitial(WorkKeys.shape)
    let allowed = shape.value == .lognormal ? 2 : 1
    if points.count > allowed {
      mistake(
        "wrong-value",
        "a \(shape.value.rawValue) distribution is given by \(allowed == 1 ? "one time" : "two times"), not by \(points.count)",
        at: points[allowed].value,
        mend:
          "keep \(points.prefix(allowed).map { "\($0.label): \(ScalarType<Duration>.duration().write($0.value.value))" }.joined(separator: ", "))"
      )
      return nil
    }
    guard let distribution = distribution(shape.value, points) else {
      let (a, b) = (points[0], points[points.count - 1])
      mistake(
        "wrong-value", "no distribution has such a \(a.label) and \(b.label)", at: b.value,
        why: "the higher quantile must be the longer time, and no mean lies far beyond its 99th percentile",
        related: a.value.place.map { [.init($0, "the \(a.label)")] } ?? [])
      return nil
    }
    _ = first
    return Work(
      place: fields.node.place, shape: shape, points: points, distribution: distribution,
      start: fields.section.key("start") == nil ? nil : fields.value(WorkKeys.start))
  }

  private func isStoreWithLimitOnly(_ fields: Fields) -> Bool {
    fields.section.name == WorkKeys.storeSection.name && fields.node.entry("at-once") != nil
  }

  /// The distribution through one or two points.
  private func distribution(_ shape: Work.Shape, _ points: [Work.Point]) -> Work.Distribution? {
    let a = Double(points[0].value.value.inNanoseconds)
    switch shape {
    case .constant: return .constant(a)
    case .exponential:
      // P(X ≤ x) = 1 − e^(−x/mean).
      guard let q = points[0].quantile else { return .exponential(mean: a) }
      return .exponential(mean: a / -log(1 - q))
    case .lognormal: break
    }
    guard points.count == 2 else {
      // Nothing says how long the tail is: as varied as the exponential, coefficient of variation 1, which is
      // e^(σ²) − 1 = 1.
      let sigma = log(2.0).squareRoot()
      guard let q = points[0].quantile else { return .lognormal(median: a / exp(sigma * sigma / 2), sigma: sigma) }
      return .lognormal(median: a / exp(z(q) * sigma), sigma: sigma)
    }
    let b = Double(points[1].value.value.inNanoseconds)
    guard let qb = points[1].quantile else { return nil }
    if let qa = points[0].quantile {
      let sigma = log(b / a) / (z(qb) - z(qa))
      guard sigma > 0, sigma < 10 else { return nil }
      return .lognormal(median: a / exp(z(qa) * sigma), sigma: sigma)
    }
    // Mean m and quantile v: ln v − ln m = zσ − σ²/2; of the two solutions the one with the shorter tail.
    let distance = log(b / a)
    let root = z(qb) * z(qb) - 2 * distance
    guard root >= 0 else { return nil }
    let low = z(qb) - root.squareRoot()
    let sigma = low > 0 ? low : z(qb) + root.squareRoot()
    guard sigma > 0, sigma < 10 else { return nil }
    return .lognormal(median: a / exp(sigma * sigma / 2), sigma: sigma)
  }

  /// The standard normal's quantiles of those that the language knows.
  private func z(_ quantile: Double) -> Double {
    switch quantile {
    case 0.5: 0
    case 0.9: 1.281_551_565_544_600_4
    case 0.95: 1.644_853_626_951_472_2
    case 0.99: 2.326_347_874_040_840_8
    default: 3.090_232_306_167_813  // 0.999
    }
  }
}
