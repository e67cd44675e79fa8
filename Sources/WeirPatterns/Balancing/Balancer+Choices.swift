// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// A few distinct instances at random, of which the cheapest is taken: shared by peak EWMA and least request.
///
/// Source: Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, IEEE TPDS 12(10), 2001. Distinct
/// choices: with replacement the mean time in system at n = 100 and 90 % load is 2.658 instead of 2.645.
///
/// Uniform over the open instances whatever is skipped: draws that hit a closed one are drawn again, and after
/// `redrawsMax` of these the open ones are counted, and drawn by rank.
extension Balancer {
  static let choicesMax = 8
  /// With half of all instances closed, 8 redraws are not enough in 1 of 2⁸ picks.
  private static let redrawsMax = 8

  /// The best instance so far.
  private struct Best {
    var index = -1
    var seen = false
    var cost = Double.infinity
  }

  func chosen(
    among serving: [UInt16], excluding tried: Tried, limit: Int32, now: Instant,
    using random: inout SeededRandom
  ) -> Choice {
    let count = serving.count
    // One is no choice, whatever it costs.
    if count == 1 {
      let index = Int(serving[0])
      return isOpen(index, tried, limit) ? .instance(index) : .full
    }
    if choices == 1, !evenWeights { return drawn(among: serving, tried, limit, now: now, using: &random) }
    var best = Best()
    if count <= choices {
      // All are looked at, beginning anywhere, so that ties fall evenly.
      var at = random.index(below: count)
      for _ in 0..<count {
        let index = Int(serving[at])
        if isOpen(index, tried, limit) { consider(index, &best, now: now, using: &random) }
        at += 1
        if at == count { at = 0 }
      }
      return best.index < 0 ? .full : .instance(best.index)
    }
    // `InlineArray` itself: `FixedArray.init` is generic over a module's border, and cost an eighth of the pick.
    var taken = InlineArray<8, UInt16>(repeating: .max)
    var takenCount = 0
    var redraws = 0
    while takenCount < choices {
      let drawn = serving[random.index(below: count)]
      if isOpen(Int(drawn), tried, limit), !Balancer.holds(taken, takenCount, drawn) {
        taken[takenCount] = drawn
        takenCount += 1
      } else {
        redraws += 1
        if redraws > Balancer.redrawsMax {
          return scanned(serving, tried, limit, now: now, using: &random)
        }
      }
    }
    for k in 0..<takenCount { consider(Int(taken[k]), &best, now: now, using: &random) }
    return .instance(best.index)
  }

  /// The choice when many are closed: counts the open ones, then draws ranks among them.
  private func scanned(
    _ serving: [UInt16], _ tried: Tried, _ limit: Int32, now: Instant,
    using random: inout SeededRandom
  ) -> Choice {
    var open = 0
    for index in serving where isOpen(Int(index), tried, limit) { open += 1 }
    if open == 0 { return .full }
    // Distinct ranks among the open ones, in the order drawn: that order decides ties, so it must be as random.
    let wanted = min(choices, open)
    var ranks = InlineArray<8, Int>(repeating: -1)
    var found = InlineArray<8, UInt16>(repeating: .max)
    for k in 0..<wanted {
      // Floyd's sampling (Bentley, CACM 30(9), 1987) needs no second try, but orders what it draws; redrawing at most
      // 8 of at least 8 values is cheap beside the scan, and leaves the order random.
      var rank = random.index(below: open)
      while Balancer.holds(ranks, k, rank) { rank = random.index(below: open) }
      ranks[k] = rank
    }
    var rank = 0
    for index in serving where isOpen(Int(index), tried, limit) {
      for k in 0..<wanted where ranks[k] == rank { found[k] = index }
      rank += 1
    }
    var best = Best()
    for k in 0..<wanted { consider(Int(found[k]), &best, now: now, using: &random) }
    return best.index < 0 ? .full : .instance(best.index)
  }

  /// One at random by its weight: where nothing is compared, weights divide the draw, and all are looked at twice.
  private func drawn(
    among serving: [UInt16], _ tried: Tried, _ limit: Int32, now: Instant, using random: inout SeededRandom
  ) -> Choice {
    var sum = 0.0
    for index in serving where isOpen(Int(index), tried, limit) { sum += share(Int(index), now: now) }
    if sum <= 0 { return .full }
    var left = random.unit() * sum
    var last = -1
    for index in serving where isOpen(Int(index), tried, limit) {
      last = Int(index)
      left -= share(last, now: now)
      if left < 0 { break }
    }
    return .instance(last)
  }

  private func share(_ index: Int, now: Instant) -> Double {
    Double(instances[index].weight) * slowStartShare(index, now: now)
  }

  /// Compares one more; who starts slowly is seen with its share, and taken unseen only if nobody was seen.
  ///
  /// Who failed last is not seen beside a newcomer either: a newcomer that is passed over must not mean that an instance
  /// in trouble is taken without being compared.
  private func consider(
    _ index: Int, _ best: inout Best, now: Instant, using random: inout SeededRandom
  ) {
    var seen = true
    if now.nanoseconds < startingUntil {
      let share = slowStartShare(index, now: now)
      if share < 1 { seen = random.chance(share) }
      if instances[index].failuresInRow > 0 { seen = false }
    }
    let cost = algorithm == .peakEWMA ? peakCost(index, now: now) : requestCost(index)
    if best.index < 0 || (seen && !best.seen) || (seen == best.seen && cost < best.cost) {
      best = Best(index: index, seen: seen, cost: cost)
    }
  }

  private static func holds<Index: Equatable & Sendable>(
    _ taken: InlineArray<8, Index>, _ count: Int, _ index: Index
  ) -> Bool {
    for k in 0..<count where taken[k] == index { return true }
    return false
  }
}
