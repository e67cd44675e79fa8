// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

struct LogMessageTests {
  private static let declaration: LogDeclaration = {
    var log = LogDeclaration(name: "orders")
    log.keep = 1
    log.bytes = 2
    log.forgetting = .streams
    log.groups = [LogGroup(queue: "orders.a"), LogGroup(queue: "orders.b", fromStart: true)]
    return log
  }()
  private static let entry = LogEntry(
    position: 1, version: 2, at: 3, id: [4], key: [5], type: [6], fields: Array("A: b\r\n".utf8), body: [0, 255])

  static let requests: [StateRequest] = [
    .declareLogs([]), .declareLogs([declaration, LogDeclaration(name: "émails")]), .append(log: "orders", []),
    .append(
      log: "orders",
      [
        NewEntry(id: [1], body: []),
        NewEntry(id: [2], key: [3], type: [4], fields: [5], body: [6, 7], expected: 8),
        NewEntry(id: [], key: [3], body: [], expected: 0, reads: true),
      ]), .read(log: "orders", key: nil, after: 0, limit: 1, wait: 0),
    .read(log: "orders", key: [1, 2], after: .max, limit: 1000, wait: 30_000), .seek(log: "orders", time: 1),
    .lookLog(log: "orders"), .join(log: "orders", QueueDeclaration(name: "webhooks.w.1")),
    .leave(log: "orders", group: "webhooks.w.1"), .replay(log: "orders", group: "orders.a", from: 1, to: nil),
    .replay(log: "orders", group: "orders.a", from: 5, to: 7),
    .saveDocument(log: "orders", key: [1], body: [2, 3], expected: nil),
    .saveDocument(log: "orders", key: [1], body: [], expected: 0), .document(log: "orders", key: [1]),
    .documents(log: "orders", after: [], limit: 1), .documents(log: "orders", after: [1], limit: 1000),
    .settle(queue: "q", [Settlement(sequence: 1, attempt: 2, verdict: .postpone(by: 3))]),
  ]

  static let replies: [StateReply] = [
    .appended([]),
    .appended([
      Appended(position: 1, version: 2, isDuplicate: false), Appended(position: .max, version: 0, isDuplicate: true),
    ]), .conflict(index: 3, version: 4), .entries([]), .entries([entry]), .position(1), .logCounts(LogCounts()),
    .logCounts(
      {
        var counts = LogCounts()
        counts.first = 1
        counts.last = 2
        counts.bytes = 3
        counts.refused = 4
        counts.readers = 5
        counts.declaredAt = 6
        var group = GroupCounts(name: "orders.a")
        group.lag = 7
        group.position = 8
        group.counts.waiting = 9
        group.counts.oldest = 10
        counts.groups = [group, GroupCounts(name: "orders.b")]
        return counts
      }()), .saved(version: 1), .document(nil), .document(LogDocument(key: [1], version: 2, body: [3])),
    .documentList([]),
    .documentList([LogDocument(key: [1], version: 2, body: [3]), LogDocument(key: [2], version: 1, body: [])]),
    .leased([
      LeasedMessage(
        sequence: 1, attempt: 2, until: 3, enqueuedAt: 4, message: NewMessage(id: [49], body: []),
        entry: MessageEntry(position: 1, version: 2, at: 3, id: [4], type: [5]))
    ]),
  ]

  @Test("a log can be looked at that has as many groups as the file may give, and as many that had joined before")
  func manyGroups() throws {
    var counts = LogCounts()
    counts.groups = (1...2 * LogLimits.groupsMax).map { GroupCounts(name: "orders.\($0)") }
    let bytes = content(.logCounts(counts))
    #expect(try StateFrames.reply(bytes.span).reply == .logCounts(counts))
  }

  private func content(_ request: StateRequest) -> [UInt8] {
    var bytes: [UInt8] = []
    StateFrames.append(request, id: 1, to: &bytes)
    return Array(bytes.dropFirst(4))
  }

  private func content(_ reply: StateReply) -> [UInt8] {
    var bytes: [UInt8] = []
    StateFrames.append(reply, id: 1, to: &bytes)
    return Array(bytes.dropFirst(4))
  }

  @Test("each message is read as it was written, many in a row")
  func roundTrip() throws {
    var bytes: [UInt8] = []
    for (i, request) in Self.requests.enumerated() { StateFrames.append(request, id: UInt64(i), to: &bytes) }
    var reader = StateFrameReader()
    reader.feed(bytes.span)
    for (i, request) in Self.requests.enumerated() {
      let frame = try #require(try reader.next())
      let (id, read) = try StateFrames.request(frame.span)
      #expect(id == UInt64(i) && read == request)
    }
    #expect(try reader.next() == nil)
    for reply in Self.replies { #expect(try StateFrames.reply(content(reply).span).reply == reply) }
  }

  @Test("what is cut short anywhere, or too long, is refused")
  func truncated() throws {
    for request in Self.requests {
      let whole = content(request)
      for count in 0..<whole.count {
        #expect(throws: StateFrameError.tooShort) { try StateFrames.request(Array(whole.prefix(count)).span) }
      }
      #expect(throws: StateFrameError.surplus(1)) { try StateFrames.request((whole + [0]).span) }
    }
    for reply in Self.replies {
      let whole = content(reply)
      for count in 0..<whole.count {
        #expect(throws: StateFrameError.tooShort) { try StateFrames.reply(Array(whole.prefix(count)).span) }
      }
      #expect(throws: StateFrameError.surplus(1)) { try StateFrames.reply((whole + [0]).span) }
    }
  }

  /// Whatever a byte is changed to, it is read or refused, and what is read can be written again.
  @Test("a byte that is another is read or refused")
  func changed() {
    for request in Self.requests {
      let whole = content(request)
      for place in whole.indices {
        for value: UInt8 in [0, 1, 2, 0x7f, 0x80, 0xff] {
          var bytes = whole
          bytes[place] = value
          guard let read = try? StateFrames.request(bytes.span) else { continue }
          var again: [UInt8] = []
          StateFrames.append(read.request, id: read.id, to: &again)
          #expect(Array(again.dropFirst(4)) == bytes)
        }
      }
    }
  }

  /// Each limit from both sides.
  @Test("limits are checked when a message is read")
  func limits() throws {
    func takes(_ request: StateRequest, _ other: StateRequest) {
      #expect(throws: Never.self) { try StateFrames.request(content(request).span) }
      #expect(throws: StateFrameError.badValue) { try StateFrames.request(content(other).span) }
    }
    func append(_ change: (inout NewEntry) -> Void) -> StateRequest {
      var entry = NewEntry(id: [1], key: [2], body: [])
      change(&entry)
      return .append(log: "q", [entry])
    }
    func zeros(_ count: Int) -> [UInt8] { Array(repeating: 48, count: count) }
    takes(append { $0.id = zeros(128) }, append { $0.id = zeros(129) })
    takes(append { $0.id = zeros(1) }, append { $0.id = [] })
    takes(append { $0.key = zeros(256) }, append { $0.key = zeros(257) })
    takes(append { $0.type = zeros(128) }, append { $0.type = zeros(129) })
    takes(append { $0.fields = zeros(16 << 10) }, append { $0.fields = zeros(16 << 10 + 1) })
    takes(append { $0.body = zeros(1 << 20) }, append { $0.body = zeros(1 << 20 + 1) })
    takes(append { $0.expected = 0 }, append { $0.expected = -1 })
    takes(
      append {
        $0.expected = 1
        $0.reads = true
      }, append { $0.reads = true })
    takes(
      append { $0.key = [] },
      append {
        $0.key = []
        $0.expected = 1
      })
    let entry = NewEntry(id: [1], body: [])
    takes(
      .append(log: "q", Array(repeating: entry, count: 1000)), .append(log: "q", Array(repeating: entry, count: 1001)))
    takes(.lookLog(log: String(repeating: "q", count: 128)), .lookLog(log: String(repeating: "q", count: 129)))
    takes(.lookLog(log: "q"), .lookLog(log: ""))
    func read(_ key: [UInt8]?, _ after: Int64, _ limit: UInt16, _ wait: Int64) -> StateRequest {
      .read(log: "q", key: key, after: after, limit: limit, wait: wait)
    }
    takes(read(nil, 0, 1, 0), read(nil, 0, 0, 0))
    takes(read(nil, 0, 1000, 0), read(nil, 0, 1001, 0))
    takes(read(nil, 0, 1, 0), read(nil, -1, 1, 0))
    takes(read(nil, 0, 1, 0), read(nil, 0, 1, -1))
    takes(read([1], 0, 1, 0), read([], 0, 1, 0))
    takes(read(zeros(256), 0, 1, 0), read(zeros(257), 0, 1, 0))
    takes(.seek(log: "q", time: 0), .seek(log: "q", time: -1))
    takes(.leave(log: "q", group: "g"), .leave(log: "q", group: ""))
    takes(.replay(log: "q", group: "g", from: 0, to: nil), .replay(log: "q", group: "g", from: -1, to: nil))
    takes(.replay(log: "q", group: "g", from: 0, to: 0), .replay(log: "q", group: "g", from: 0, to: -1))
    func save(_ key: [UInt8], _ body: [UInt8]) -> StateRequest {
      .saveDocument(log: "q", key: key, body: body, expected: nil)
    }
    takes(save([1], zeros(1 << 20)), save([1], zeros(1 << 20 + 1)))
    takes(save([1], []), save([], []))
    takes(.document(log: "q", key: [1]), .document(log: "q", key: []))
    takes(.documents(log: "q", after: [], limit: 1), .documents(log: "q", after: [], limit: 0))
    takes(.documents(log: "q", after: zeros(256), limit: 1), .documents(log: "q", after: zeros(257), limit: 1))
    func declare(_ change: (inout LogDeclaration) -> Void) -> StateRequest {
      var log = LogDeclaration(name: "q")
      change(&log)
      return .declareLogs([log])
    }
    takes(declare { $0.keep = 0 }, declare { $0.keep = -1 })
    takes(declare { $0.bytes = 0 }, declare { $0.bytes = -1 })
    takes(declare { $0.groups = [LogGroup(queue: "g")] }, declare { $0.groups = [LogGroup(queue: "")] })
    takes(
      declare { $0.groups = Array(repeating: LogGroup(queue: "g"), count: 1000) },
      declare { $0.groups = Array(repeating: LogGroup(queue: "g"), count: 1001) })
    func postpone(_ by: Int64) -> StateRequest {
      .settle(queue: "q", [Settlement(sequence: 1, attempt: 1, verdict: .postpone(by: by))])
    }
    takes(postpone(0), postpone(-1))
    #expect(throws: StateFrameError.unknownKind(99)) { try StateFrames.request([99, 0, 0, 0, 0, 0, 0, 0, 0].span) }
    #expect(throws: StateFrameError.unknownKind(255)) { try StateFrames.reply([255, 0, 0, 0, 0, 0, 0, 0, 0].span) }
  }
}
