// SPDX-License-Identifier: Apache-2.0

/// Which answers may be compressed on their way, and which say that they might have been.
///
/// Source: RFC 9110 §8.4 (content codings), §12.5.3 (`Accept-Encoding`), RFC 9111 §5.2.2.6 (`no-transform`). What could
/// surprise: an answer that is left as it is may still have to say `Vary`, for a cache must not give a compressed one to
/// who cannot read it, nor the plain one to all.
///
/// ## Invariants
/// 1. Nothing is compressed twice, and nothing whose bytes are named by a range.
/// 2. What may depend on `Accept-Encoding` says so, whatever is chosen this time.
public struct CompressionRule: Sendable, Equatable {
  public enum Verdict: Sendable, Equatable, BitwiseCopyable {
    /// It would never be compressed.
    case leave
    /// Not this time: `Vary` is said.
    case leaveVarying
    /// Not modified: the stored answer may be a compressed one, whose tag is weak, and this must name the same.
    case weaken
    case compress
  }

  /// In lower case; a `*` at the end stands for any rest.
  public let types: [[UInt8]]
  /// Answers whose length is known and less are left: the head of a stream alone costs 20 bytes.
  public let atLeast: Int64
  public let offered: ContentCoding.Set

  public init(types: [String], atLeast: Int64, offered: ContentCoding.Set) {
    self.types = types.map { $0.utf8.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 } }
    self.atLeast = atLeast
    self.offered = offered
  }

  /// The coding that a request's answer may have.
  public func wanted(_ bytes: Span<UInt8>, _ head: RequestHead) -> ContentCoding {
    // A caller of HTTP/1.0 knows no chunks, and a compressed length is not known beforehand.
    if head.flags.contains(.http10) { return .identity }
    if case .one(let value) = Fields(head).find(bytes, "cache-control"), CompressionRule.forbids(bytes, value) {
      return .identity
    }
    return ContentCoding.choose(bytes, head, offered: offered) ?? .identity
  }

  /// What is done with an answer.
  public func judge(_ bytes: Span<UInt8>, _ head: ResponseHead, wanted: ContentCoding) -> Verdict {
    if head.status == 304 { return wanted == .identity ? .leaveVarying : .weaken }
    // 204 has no body, 206 names bytes of another one.
    if head.status < 200 || head.status == 204 || head.status == 206 { return .leave }
    var type = Run.empty
    var length: Int64 = -1
    var fields = Fields(head)
    while let field = fields.next(bytes) {
      let from = Int(field.name.start)
      let to = Int(field.name.end)
      if Grammar.matches(bytes, from, to, "content-type") {
        type = field.value
      } else if Grammar.matches(bytes, from, to, "content-length") {
        length = CompressionRule.number(bytes, field.value)
      } else if Grammar.matches(bytes, from, to, "content-encoding") {
        if !Grammar.matches(bytes, Int(field.value.start), Int(field.value.end), "identity") { return .leave }
      } else if Grammar.matches(bytes, from, to, "content-range") {
        return .leave
      } else if Grammar.matches(bytes, from, to, "cache-control") {
        if CompressionRule.forbids(bytes, field.value) { return .leave }
      }
    }
    if type.isEmpty || !takes(bytes, type) { return .leave }
    if length >= 0 && length < max(1, atLeast) { return .leaveVarying }
    return wanted == .identity ? .leaveVarying : .compress
  }

  private func takes(_ bytes: Span<UInt8>, _ type: Run) -> Bool {
    // Events are short and must come at once: who wants them compressed names them.
    let isEvents = MediaType.matches(bytes, type, "text/event-stream")
    for candidate in types {
      if isEvents && candidate.last == 0x2a { continue }
      if MediaType.matches(bytes, type, candidate) { return true }
    }
    return false
  }

  private static func forbids(_ bytes: Span<UInt8>, _ value: Run) -> Bool {
    var list = WeightedList(value)
    while let element = list.next(bytes) {
      if Grammar.matches(bytes, element.name.lowerBound, element.name.upperBound, "no-transform") { return true }
    }
    return false
  }

  private static func number(_ bytes: Span<UInt8>, _ value: Run) -> Int64 {
    var number: Int64 = 0
    guard !value.isEmpty, value.count <= 18 else { return -1 }
    for i in value.range {
      guard Grammar.isDigit(bytes[i]) else { return -1 }
      number = number * 10 + Int64(bytes[i] - 0x30)
    }
    return number
  }
}
