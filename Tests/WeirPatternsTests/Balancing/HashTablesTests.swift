// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct HashTablesTests {
  private func identities(_ count: Int, _ seed: UInt64 = 1) -> [UInt64] {
    var random = SeededRandom(seed: seed, stream: "identities")
    return (0..<count).map { _ in random.next() }
  }

  // MARK: SipHash

  // The reference's vectors: key 00 … 0f, input 00 01 02 …; the one of 15 bytes is the paper's appendix A.
  @Test(
    "SipHash-2-4 as published",
    arguments: [
      (0, 0x726f_db47_dd0e_0e31), (1, 0x74f8_39c5_93dc_67fd), (2, 0x0d6c_8009_d9a9_4f5a), (3, 0x8567_6696_d7fb_7e2d),
      (7, 0xab02_00f5_8b01_d137), (8, 0x93f5_f579_9a93_2462), (15, 0xa129_ca61_49be_45e5),
    ] as [(Int, UInt64)])
  func sipHash(count: Int, expected: UInt64) {
    let hash = KeyedHash(secret: 0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
    let bytes = (0..<count).map { UInt8($0) }
    #expect(hash.hash(bytes.span) == expected)
  }

  // MARK: Jump (GROUND_TRUTH GT-JUMP)

  @Test("jump hash as published")
  func jumpVectors() {
    let hundred = [0, 55, 62, 8, 45, 59, 86, 97, 82, 59, 73, 37, 17, 56, 86, 21, 90, 37, 38, 83]
    #expect((0..<20).map { JumpHash.bucket(UInt64($0), among: 100) } == hundred)
    #expect(JumpHash.bucket(10_863_919_174_838_991, among: 11) == 6)
    #expect(JumpHash.bucket(2_016_238_256_797_177_309, among: 11) == 3)
    #expect(JumpHash.bucket(1_673_758_223_894_951_030, among: 11) == 5)
    #expect(JumpHash.bucket(2, among: 100_001) == 80_343)
    #expect(JumpHash.bucket(2_201, among: 100_001) == 22_152)
    #expect(JumpHash.bucket(2_202, among: 100_001) == 15_018)
    #expect(
      (1..<20).map { JumpHash.bucket(1, among: $0) } == [
        0, 0, 0, 0, 0, 0, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 17, 17,
      ])
    #expect(
      (1..<20).map { JumpHash.bucket(0xdead_beef, among: $0) } == [
        0, 1, 2, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 16, 16, 16,
      ])
  }

  @Test(
    "one bucket more moves 1 ÷ (n + 1) of the keys, all of them to it",
    arguments: [(1, 0.5), (10, 1 / 11.0), (100, 1 / 101.0)])
  func jumpGrows(count: Int, truth: Double) {
    let keys = PatternSeeds.samples(400_000)
    var random = SeededRandom(seed: UInt64(count), stream: "jump")
    var moved = 0
    for _ in 0..<keys {
      let key = random.next()
      let (before, after) = (JumpHash.bucket(key, among: count), JumpHash.bucket(key, among: count + 1))
      if before != after {
        moved += 1
        #expect(after == count)
      }
    }
    let error = (truth * (1 - truth) / Double(keys)).squareRoot()
    #expect(abs(Double(moved) / Double(keys) - truth) <= 4 * error)
  }

  // MARK: Ring (GROUND_TRUTH GT-RING)

  // A share is Beta(v, v(n−1)); the exact share is the length of the arcs, measured here by even positions.
  @Test(
    "the shares of a ring vary as the Beta distribution says",
    arguments: [(10, 1, 0.9045), (10, 10, 0.2985), (10, 100, 0.0948), (100, 160, 0.0787)])
  func ringShares(owners: Int, points: Int, truth: Double) {
    let rings = owners == 100 ? 8 : 200
    let positions = 1 << 17
    var squares = 0.0
    for seed in 0..<rings {
      let ring = HashRing(identities: identities(owners, UInt64(seed)), pointsEach: points)
      #expect(ring.violation() == nil && ring.count == owners * points)
      var counts = [Double](repeating: 0, count: owners)
      for number in 0..<positions { counts[ring.owner(of: UInt64(number) << 47)] += 1 }
      let mean = Double(positions) / Double(owners)
      for count in counts { squares += (count / mean - 1) * (count / mean - 1) }
    }
    let deviation = (squares / Double(rings * owners)).squareRoot()
    // A deviation from k shares is known to about 1 ÷ √(2k); a share at one point has a long tail (× 2).
    let error = truth * (points == 1 ? 2 : 1) / Double(2 * rings * owners).squareRoot()
    #expect(abs(deviation - truth) <= 4 * error, "\(deviation), not \(truth)")
  }

  @Test("the owner of a position is that of the next point, found the plain way too")
  func ringIsARing() {
    for owners in [1, 2, 3, 17] {
      for points in [1, 2, 7] {
        let ring = HashRing(identities: identities(owners), pointsEach: points)
        // Every owner's points lie just before where its arc ends, so stepping finely meets all arcs in order.
        var seen = Set<Int>()
        for number in 0..<4096 { seen.insert(ring.owner(of: UInt64(number) << 52)) }
        #expect(seen.count <= owners && (points < 7 || seen.count == owners))
        #expect(ring.owner(of: .max) == ring.owner(of: 0) || ring.count > 1)
      }
    }
  }

  @Test("an owner less: only its keys move; order of the list means nothing; weights are held")
  func ringMoves() {
    let names = identities(20)
    let ring = HashRing(identities: names, pointsEach: 160)
    let less = HashRing(identities: Array(names.dropLast()), pointsEach: 160)
    let turned = HashRing(identities: names.reversed(), pointsEach: 160)
    for number in 0..<20_000 {
      let position = UInt64(number) &* 0x9e37_79b9_7f4a_7c15
      let owner = ring.owner(of: position)
      #expect(19 - turned.owner(of: position) == owner)
      if owner != 19 { #expect(less.owner(of: position) == owner) }
    }
    let weighted = HashRing(identities: [1, 2], weights: [3, 1], pointsEach: 2_000)
    var first = 0
    for number in 0..<10_000 where weighted.owner(of: UInt64(number) &* 0x9e37_79b9_7f4a_7c15) == 0 { first += 1 }
    #expect(abs(first - 7_500) < 500)
  }

  // MARK: Maglev

  // The paper's table 1: three backends over seven slots, then without B1.
  @Test("the paper's example")
  func maglevPaper() {
    let b0 = MaglevTable.Preference(offset: 3, skip: 4)
    let b1 = MaglevTable.Preference(offset: 0, skip: 2)
    let b2 = MaglevTable.Preference(offset: 3, skip: 1)
    let before = MaglevTable([b0, b1, b2], slots: 7)
    #expect((0..<7).map { before[$0] } == [1, 0, 1, 0, 2, 2, 0])
    let after = MaglevTable([b0, b2], slots: 7)
    #expect((0..<7).map { after[$0] } == [0, 0, 0, 0, 1, 1, 1])
  }

  @Test("every backend owns ⌊M ÷ n⌋ or ⌈M ÷ n⌉ slots", arguments: [1, 2, 3, 10, 100, 1_000])
  func maglevEven(count: Int) {
    let table = MaglevTable(identities: identities(count), slots: 65_537)
    #expect(table.count == 65_537 && table.violation() == nil)
    var counts = [Int](repeating: 0, count: count)
    for slot in 0..<table.count { counts[table[slot]] += 1 }
    #expect(counts.allSatisfy { $0 == 65_537 / count || $0 == (65_537 + count - 1) / count })
  }

  @Test("slots are raised to a prime, above the number of backends")
  func maglevSlots() {
    #expect(MaglevTable(identities: identities(3), slots: 100).count == 101)
    #expect(MaglevTable(identities: identities(200), slots: 10).count == 211)
    #expect(MaglevTable(identities: [], slots: 10).count == 0)
  }

  @Test("weights 3 : 2 : 1 within a slot a turn; the order of the list means nothing")
  func maglevWeights() {
    let names = identities(3)
    let table = MaglevTable(identities: names, weights: [3, 2, 1], slots: 65_537)
    var counts = [0, 0, 0]
    for slot in 0..<table.count { counts[table[slot]] += 1 }
    for (index, weight) in [3, 2, 1].enumerated() {
      #expect(abs(Double(counts[index]) / 65_537 - Double(weight) / 6) < 0.0001)
    }
    let turned = MaglevTable(identities: names.reversed(), weights: [1, 2, 3], slots: 65_537)
    #expect((0..<65_537).allSatisfy { 2 - turned[$0] == table[$0] })
  }

  // What a new table costs beyond the unavoidable share of the one that is gone: the reason why the balancer keeps its
  // table.
  @Test("a backend less moves few slots of the others", arguments: [(10, 0.02), (100, 0.05)])
  func maglevDisruption(count: Int, most: Double) {
    let names = identities(count)
    let before = MaglevTable(identities: names, slots: 65_537)
    let after = MaglevTable(identities: Array(names.dropLast()), slots: 65_537)
    var moved = 0
    var stayed = 0
    for slot in 0..<65_537 where before[slot] != count - 1 {
      if before[slot] == after[slot] { stayed += 1 } else { moved += 1 }
    }
    let share = Double(moved) / Double(moved + stayed)
    #expect(share > 0 && share < most, "\(share)")
  }
}
