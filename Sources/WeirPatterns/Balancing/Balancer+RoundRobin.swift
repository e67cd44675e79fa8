// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// Smooth weighted round robin: each in turn, as often as its weight says, never in a row longer than needed.
///
/// Source: nginx, `ngx_http_upstream_round_robin.c` (Dounin, 2012). Weights 5, 1, 1 give a a b a c a a, not a a a a a b
/// c: at each pick every open instance gains its weight in credit, the richest is taken and pays the sum of the
/// weights. Equal weights without slow start are a plain rotation: the same sequence at a cost that does not grow.
extension Balancer {
  mutating func rotated(among serving: [UInt16], excluding tried: Tried, limit: Int32, now: Instant)
    -> Choice
  {
    if evenWeights, now.nanoseconds >= startingUntil {
      for _ in 0..<serving.count {
        if cursor >= serving.count { cursor = 0 }
        let index = Int(serving[cursor])
        cursor += 1
        if isOpen(index, tried, limit) { return .instance(index) }
      }
      return .full
    }
    var best = -1
    var sum: Int64 = 0
    for index in serving.lazy.map(Int.init) where isOpen(index, tried, limit) {
      // Slow start scales the weight as Envoy does; 1024 keeps three digits of a weight of 1.
      let share = slowStartShare(index, now: now)
      let weight = max(1, Int64(Double(instances[index].weight) * 1024 * share))
      instances[index].credit += weight
      sum += weight
      if best < 0 || instances[index].credit > instances[best].credit { best = index }
    }
    if best < 0 { return .full }
    instances[best].credit -= sum
    return .instance(best)
  }
}
