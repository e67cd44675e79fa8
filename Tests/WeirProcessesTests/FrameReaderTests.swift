// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirPlatform
import WeirProcesses

/// Frames and messages between keeper and plane.
struct FrameReaderTests {
  static let spec = ProgramSpec(
    name: "api", instance: 2, argv: ["api", "--port", "1"], environment: [.init("A", "b=c\n")], directory: "/tmp",
    stopGrace: .milliseconds(1500), port: 20_001)

  @Test(
    "every message comes back as it was, however its bytes are cut",
    arguments: [
      PlaneMessage.start(program: spec), .signal(id: "api-2", signal: .terminate),
      .stop(id: "api-2", grace: .seconds(3)),
      .forget(id: "é"), .order(stages: [["web"], ["api", "db"]]), .ready, .lastLines(id: "api-2"), .show(lines: false),
      .say(text: "\"quoted\"\n"), .listen(spec: ListenSpec(name: "gateway", address: "*", port: 80, count: 4)),
      .unlisten(name: "gateway"), .finished(code: 3),
    ], [1, 3, 10_000])
  func roundTrip(message: PlaneMessage, piece: Int) throws {
    var reader = FrameReader()
    var found: [PlaneMessage] = []
    let bytes = try FrameReader.frame(message) + FrameReader.frame(PlaneMessage.ready)
    var rest = bytes[...]
    while !rest.isEmpty {
      reader.feed(Array(rest.prefix(piece)))
      rest = rest.dropFirst(piece)
      while let next = try reader.nextMessage(PlaneMessage.self) { found.append(next) }
    }
    #expect(found == [message, .ready])
  }

  @Test("a frame that is too long, or no message, is refused and not waited for")
  func refusals() throws {
    var reader = FrameReader()
    reader.feed([0xff, 0xff, 0xff, 0xff])
    #expect(throws: FrameError.tooLong(0xffff_ffff)) { try reader.next() }
    reader = FrameReader()
    reader.feed([0, 0, 0, 2] + Array("{}".utf8))
    #expect(throws: FrameError.self) { try reader.nextMessage(PlaneMessage.self) }
    #expect(throws: FrameError.self) {
      try FrameReader.frame(PlaneMessage.say(text: String(repeating: "x", count: FrameReader.bytesMax)))
    }
  }
}
