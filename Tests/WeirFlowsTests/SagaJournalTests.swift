// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// What is stored of sagas is read by versions that are years younger.
struct SagaJournalTests {
  private static func time(_ milliseconds: Int64) -> WallTime { WallTime(milliseconds: milliseconds) }

  static let records: [SagaRecord] = [
    .script(SagaScript([[.init(act: "POST a/b", undo: "POST a/c")], [.init(act: "PUT d/e", undo: nil)]])),
    .answered(1, isUndo: true, SagaAnswer(at: time(0x0102), status: 503, text: [0x6e, 0x6f])), .taken,
    .entry(.begun(time(1_700_000_000_000))), .entry(.calling(1, attempt: 2)), .entry(.done(3)),
    .entry(.failed(4, mayBeDone: true, retryAt: time(5))), .entry(.failed(4, mayBeDone: false, retryAt: nil)),
    .entry(.turned(.step(6))), .entry(.turned(.deadline)), .entry(.turned(.asked)), .entry(.undoing(7, attempt: 300)),
    .entry(.undone(8)), .entry(.undoFailed(9, retryAt: time(10))), .entry(.undoFailed(9, retryAt: nil)),
    .entry(.resumed), .entry(.steered(11, .tryAgain)), .entry(.steered(11, .isDone)),
    .entry(.steered(11, .isNotDone)), .entry(.finished), .entry(.compensated),
  ]

  /// By record; never changed: what was written by the first version is read for ever.
  static let stored = [
    "010100000028020100000008504f535420612f620100000008504f535420612f630100000007505554" + "20642f6500",
    "0102000000120101000000000000010201f7000000026e6f", "010300000000", "01100000000800000" + "18bcfe56800",
    "0111000000050100000002", "01120000000103", "01130000000b04010100000000000000" + "05", "0113000000030400" + "00",
    "0114000000020006", "01140000000101", "01140000000102", "011500000005070000012c", "01160000000108",
    "01170000000a0901000000000000000a", "0117000000020900", "011800000000", "0119000000020b00", "0119000000020b01",
    "0119000000020b02", "011a00000000", "011b00000000",
  ]

  static func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  @Test("each record is written and read as the first version did")
  func golden() {
    for (record, stored) in zip(SagaJournalTests.records, SagaJournalTests.stored) {
      let bytes = SagaJournal.encode([record])
      #expect(SagaJournalTests.hex(bytes) == stored, "\(record)")
      #expect(SagaJournal.decode(bytes) == [record])
    }
    #expect(SagaJournalTests.records.count == SagaJournalTests.stored.count)
    #expect(SagaJournal.decode(SagaJournal.encode(SagaJournalTests.records)) == SagaJournalTests.records)
  }

  @Test("what is cut, of another version, or has bytes too many is not read")
  func broken() {
    let bytes = SagaJournal.encode(SagaJournalTests.records)
    var whole = 0
    for count in 0..<bytes.count {
      guard let read = SagaJournal.decode(Array(bytes.prefix(count))) else { continue }
      // Cut between two records, it is a shorter commit.
      #expect(read == Array(SagaJournalTests.records.prefix(read.count)))
      whole += 1
    }
    #expect(whole == SagaJournalTests.records.count)
    #expect(SagaJournal.decode([2] + bytes.dropFirst()) == nil)
    #expect(SagaJournal.decode(bytes + [0]) == nil)
    #expect(SagaJournal.decode([1, 200, 0, 0, 0, 0]) == nil)
    var random = SeededRandom(seed: 3, stream: "spoiled journals")
    for _ in 0..<20_000 {
      var spoiled = bytes
      for _ in 0..<1 + random.index(below: 3) {
        spoiled[random.index(below: spoiled.count)] = UInt8(random.index(below: 256))
      }
      // Whatever it is, it ends.
      _ = SagaJournal.decode(spoiled)
    }
  }
}
