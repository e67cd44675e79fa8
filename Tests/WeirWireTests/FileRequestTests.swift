// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

/// Paths, conditions and ranges of files: pure, so that each case is one line.
@Suite struct FileRequestTests {
  func judge(_ fields: String, method: String = "GET", size: Int64 = 1000) throws -> FileRequest.Verdict {
    let text = Array("\(method) / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n".utf8)
    var head = RequestHead()
    var scanner = RequestScanner()
    guard case .complete = scanner.scan(text.span, from: [], limits: HeadLimits(), into: &head) else {
      Issue.record("no head: \(fields)")
      return .failed
    }
    // 1994-11-06 08:49:37
    let file = FileRequest(tag: Array("\"abc\"".utf8), modified: 784_111_777, size: size)
    return file.judge(text.span, head)
  }

  @Test(
    "ranges",
    arguments: [
      ("bytes=0-0", .part(0..<1)), ("bytes=0-", .part(0..<1000)), ("bytes=999-", .part(999..<1000)),
      ("bytes=-1", .part(999..<1000)), ("bytes=-5000", .part(0..<1000)), ("bytes=10-5000", .part(10..<1000)),
      ("bytes=1000-", .unsatisfiable), ("bytes=1000-2000", .unsatisfiable), ("bytes=-0", .unsatisfiable),
      ("bytes=5-4", .whole), ("bytes=", .whole), ("bytes=-", .whole), ("bytes=0-1,2-3", .whole), ("lines=0-1", .whole),
      ("bytes=a-b", .whole), ("bytes=0-1 ", .part(0..<2)), ("bytes=99999999999999999999-", .unsatisfiable),
      ("bytes=0-99999999999999999999", .part(0..<1000)), ("BYTES=0-1", .part(0..<2)), ("bytes=+1-2", .whole),
    ] as [(String, FileRequest.Verdict)])
  func ranges(_ range: String, _ expected: FileRequest.Verdict) throws {
    #expect(try judge("Range: \(range)\r\n") == expected)
    #expect(try judge("Range: \(range)\r\n", method: "HEAD") == .whole)
  }

  @Test(
    "conditions, in their order",
    arguments: [
      ("If-None-Match: \"abc\"", .unchanged), ("If-None-Match: W/\"abc\"", .unchanged),
      ("If-None-Match: \"x\", \"abc\"", .unchanged), ("If-None-Match: *", .unchanged), ("If-None-Match: \"x\"", .whole),
      ("If-None-Match: \"ab,c\", abc", .whole), ("If-Match: \"abc\"", .whole), ("If-Match: W/\"abc\"", .failed),
      ("If-Match: *", .whole), ("If-Match: \"x\"\r\nIf-None-Match: \"abc\"", .failed),
      ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", .unchanged),
      ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", .whole),
      ("If-Modified-Since: yesterday", .whole),
      ("If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", .whole),
      ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", .failed),
      ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", .whole),
      ("Range: bytes=0-1\r\nIf-Range: \"abc\"", .part(0..<2)), ("Range: bytes=0-1\r\nIf-Range: W/\"abc\"", .whole),
      ("Range: bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT", .part(0..<2)),
      ("Range: bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT", .whole),
      ("Range: bytes=0-1\r\nRange: bytes=2-3", .whole),
    ] as [(String, FileRequest.Verdict)])
  func conditions(_ fields: String, _ expected: FileRequest.Verdict) throws {
    #expect(try judge(fields + "\r\n") == expected)
  }

  @Test(
    "paths",
    arguments: [
      ("/", 0, ""), ("/a", 0, "a"), ("/a/b.css", 0, "a/b.css"), ("/a/", 0, "a/"), ("/a/b.css", 1, "b.css"),
      ("/a/", 1, ""), ("/a", 1, ""), ("/a%20b", 0, "a b"), ("/%C3%A4", 0, "ä"), ("/.well-known/x", 0, ".well-known/x"),
      ("/a", 2, nil), ("/..", 0, nil), ("/a/../b", 0, nil), ("/%2e%2e/b", 0, nil), ("/.git/x", 0, nil), ("//a", 0, nil),
      ("/a//b", 0, nil), ("/a%2fb", 0, nil), ("/a%5cb", 0, nil), ("/%00", 0, nil), ("/%zz", 0, nil), ("/%4", 0, nil),
      ("/%ff", 0, nil), ("a", 0, nil), ("", 0, nil), ("/...", 0, nil), ("/a%0ab", 0, nil),
    ] as [(String, Int, String?)])
  func paths(_ path: String, _ skip: Int, _ expected: String?) {
    let bytes = Array(path.utf8)
    let found = FilePath.relative(bytes.span, Run(0, bytes.count), skip: skip)
    #expect(found == expected)
  }
}
