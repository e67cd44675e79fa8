// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

struct StateMessageTests {
  private static let key = StateDigest(1, 2, 3, .max)
  private static let owner = StateRequest.Owner(high: 5, low: 6)
  private static let answer = StateRequest.Answer(status: 201, fields: Array("A: b\r\n".utf8), body: [0, 255, 1])
  static let requests: [StateRequest] = [
    .hello(version: 1),
    .claim(.init(key: key, fingerprint: StateDigest(9, 8, 7, 6), owner: owner, lease: 1, keep: .max, wait: 0)),
    .complete(key: key, owner: owner, answer: nil), .complete(key: key, owner: owner, answer: answer),
    .release(key: key, owner: owner),
  ]
  static let replies: [StateReply] =
    [
      .welcome(version: 7), .execute, .replay(answer), .replay(answer, waited: true), .notKept, .busy(1234), .mismatch,
      .stored, .lost, .released,
    ] + StateReply.Failure.allCases.map { .failed($0) }

  @Test("each message is read as it was written, whatever the cut")
  func roundTrip() throws {
    for cut in [1, 2, 3, 7, 1000] {
      var bytes: [UInt8] = []
      for (i, request) in Self.requests.enumerated() { StateFrames.append(request, id: UInt64(i), to: &bytes) }
      var reader = StateFrameReader()
      var read: [StateRequest] = []
      for start in stride(from: 0, to: bytes.count, by: cut) {
        reader.feed(Array(bytes[start..<min(bytes.count, start + cut)]).span)
        while let content = try reader.next() {
          let (id, request) = try StateFrames.request(content.span)
          #expect(id == UInt64(read.count))
          read.append(request)
        }
      }
      #expect(read == Self.requests && reader.count == 0)
    }
    for (i, reply) in Self.replies.enumerated() {
      var bytes: [UInt8] = []
      StateFrames.append(reply, id: .max - UInt64(i), to: &bytes)
      let (id, got) = try StateFrames.reply(Array(bytes.dropFirst(4)).span)
      #expect(id == .max - UInt64(i) && got == reply)
    }
  }

  @Test("what is cut short, too long or unknown is refused")
  func refused() throws {
    for request in Self.requests {
      var bytes: [UInt8] = []
      StateFrames.append(request, id: 1, to: &bytes)
      let content = Array(bytes.dropFirst(4))
      for count in 0..<content.count {
        #expect(throws: StateFrameError.tooShort) { try StateFrames.request(Array(content.prefix(count)).span) }
      }
      #expect(throws: StateFrameError.surplus(1)) { try StateFrames.request((content + [0]).span) }
    }
    #expect(throws: StateFrameError.unknownKind(200)) { try StateFrames.request([200, 0, 0, 0, 0, 0, 0, 0, 0].span) }
    #expect(throws: StateFrameError.unknownKind(1)) { try StateFrames.reply([1, 0, 0, 0, 0, 0, 0, 0, 0].span) }
    #expect(throws: StateFrameError.badValue) { try StateFrames.reply([137, 0, 0, 0, 0, 0, 0, 0, 0, 99].span) }
    var reader = StateFrameReader()
    reader.feed([0, 0xa0, 0, 0].span)
    #expect(throws: StateFrameError.tooLong(0xa0_0000)) { try reader.next() }
    var short = StateFrameReader()
    short.feed([0, 0, 0, 8].span)
    #expect(throws: StateFrameError.tooShort) { try short.next() }
  }

  @Test("a digest is its 32 bytes, the highest first")
  func digest() {
    let bytes = (0..<32).map { UInt8($0) }
    #expect(StateDigest(bytes)?.bytes == bytes)
    #expect(StateDigest(bytes.dropLast()) == nil)
    #expect(StateDigest(bytes)?.a == 0x0001_0203_0405_0607)
  }
}
