// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

struct BackupMessageTests {
  private static let requests: [StateRequest] = [
    .planBackup(nil), .lookBackup,
    .planBackup(BackupDeclaration(system: "shop", every: "0 3 * * *", keep: .max, folder: "/é", makesFolder: true)),
  ]
  private static let replies: [StateReply] = {
    var counts = BackupCounts()
    counts.lastAt = 1
    counts.bytes = 2
    counts.copies = 3
    counts.made = 4
    counts.failures = 5
    counts.isCopying = true
    counts.trouble = "there is no room"
    return [.backup(BackupCounts()), .backup(counts)]
  }()

  private func content(_ request: StateRequest) -> [UInt8] {
    var bytes: [UInt8] = []
    StateFrames.append(request, id: 7, to: &bytes)
    return Array(bytes.dropFirst(4))
  }

  private func content(_ reply: StateReply) -> [UInt8] {
    var bytes: [UInt8] = []
    StateFrames.append(reply, id: 7, to: &bytes)
    return Array(bytes.dropFirst(4))
  }

  @Test("what is said of copies is read as it was written; cut short anywhere, or too long, it is refused")
  func roundTrip() throws {
    for request in Self.requests {
      let whole = content(request)
      #expect(try StateFrames.request(whole.span).request == request)
      for count in 0..<whole.count {
        #expect(throws: StateFrameError.tooShort) { try StateFrames.request(Array(whole.prefix(count)).span) }
      }
      #expect(throws: StateFrameError.surplus(1)) { try StateFrames.request((whole + [0]).span) }
    }
    for reply in Self.replies {
      let whole = content(reply)
      #expect(try StateFrames.reply(whole.span).reply == reply)
      for count in 0..<whole.count {
        #expect(throws: StateFrameError.tooShort) { try StateFrames.reply(Array(whole.prefix(count)).span) }
      }
    }
  }

  @Test("limits are checked when it is read")
  func limits() throws {
    var backup = BackupDeclaration(
      system: "shop", every: "1h", keep: 1, folder: String(repeating: "x", count: BackupLimits.folderBytesMax),
      makesFolder: false)
    #expect(try StateFrames.request(content(.planBackup(backup)).span).request == .planBackup(backup))
    backup.folder += "x"
    let long = content(.planBackup(backup))
    #expect(throws: StateFrameError.self) { try StateFrames.request(long.span) }
    backup.folder = "/"
    backup.system = ""
    let nameless = content(.planBackup(backup))
    #expect(throws: StateFrameError.badValue) { try StateFrames.request(nameless.span) }
  }
}
