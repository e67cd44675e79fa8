// SPDX-License-Identifier: Apache-2.0

/// A ring of hashed points; a key belongs to the owner of the next point.
///
/// Source: Karger and others, *Consistent Hashing and Random Trees*, STOC 1997; points for each owner as in libketama
/// (Jones, 2007: 160 a server). With v points on each of n owners a share is Beta(v, v(n − 1)) distributed, its relative
/// standard deviation √((n − 1) ÷ (nv + 1)): 7.9 % for 100 owners of 160 points. An owner that goes gives its keys to
/// the next points, which are spread over all others; no other key moves.
///
///     position ─top bits─▶ first point of that stretch ──a step or two──▶ point ──▶ owner, next point ──▶ next owner …
///
/// ## Invariants
/// 1. The ring depends on identities and weights only, not on their order.
/// 2. Finding a point costs the same for any number of points.
public struct HashRing: Sendable, Equatable {
  /// More would be 12 MiB; Envoy's limit is 8 M.
  static let pointsMax = 1 << 20

  /// 48 bits of position, then the owner's index: one word a point, sorted.
  private var points: [UInt64] = []
  /// For each stretch of the ring the first point at or after its beginning: a stretch has one point on average.
  private var starts: [Int32] = []
  private var shift: UInt64 = 63

  /// `pointsEach` points for an owner of mean weight, in proportion for others, at least one.
  public init(identities: [UInt64], weights: [Int]? = nil, pointsEach: Int) {
    let count = identities.count
    precondition(count < 65_535, "an instance's index has 16 bits")
    if count == 0 { return }
    let each = max(1, min(pointsEach, HashRing.pointsMax / count))
    let sum = Double(weights?.reduce(0, +) ?? count)
    for index in 0..<count {
      let weight = Double(weights?[index] ?? 1)
      let own = max(1, Int((Double(each * count) * weight / sum).rounded()))
      for number in 0..<own {
        let position = KeyedHash.mix(identities[index] ^ KeyedHash.mix(UInt64(number)))
        points.append(position & ~0xffff | UInt64(index))
      }
    }
    points.sort()
    var stretches = 1
    while stretches < points.count { stretches <<= 1 }
    shift = UInt64(64 - stretches.trailingZeroBitCount)
    var place = 0
    for stretch in 0..<stretches {
      let begin = stretches == 1 ? 0 : UInt64(stretch) << shift
      while place < points.count, points[place] < begin { place += 1 }
      starts.append(Int32(place))
    }
  }

  public var count: Int { points.count }

  /// The place of the first point at or after a position; to be walked on from with ``place(after:)``.
  func place(of position: UInt64) -> Int {
    var place = Int(starts[shift == 64 ? 0 : Int(truncatingIfNeeded: position >> shift)])
    let wanted = position & ~0xffff
    while place < points.count, points[place] < wanted { place += 1 }
    return place == points.count ? 0 : place
  }

  func place(after place: Int) -> Int { place + 1 == points.count ? 0 : place + 1 }

  func owner(at place: Int) -> Int { Int(points[place] & 0xffff) }

  /// The owner of a position; the ring is not empty.
  public func owner(of position: UInt64) -> Int { owner(at: place(of: position)) }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    for place in points.indices.dropFirst() where points[place - 1] > points[place] {
      return "point \(place) is not in order"
    }
    for start in starts where start < 0 || start > Int32(points.count) { return "a stretch begins nowhere" }
    return nil
  }
}
