// SPDX-License-Identifier: Apache-2.0

/// One line of a head: its name, its value without the space around it, and all of it with its line end.
public struct Field: Sendable, Equatable, BitwiseCopyable {
  public var name: Run
  public var value: Run
  public var line: Run
}

/// The lines of a head that a scanner has found whole and good, one after another, dropped ones included.
public struct Fields: Sendable, BitwiseCopyable {
  private var at: Int
  private let end: Int

  public init(_ head: RequestHead) { self.init(from: head.fields, to: head.length) }

  public init(_ head: ResponseHead) { self.init(from: head.fields, to: head.length) }

  /// Lines in `start ..< end`; ends early at an empty line or at what is no field.
  init(from start: Int, to end: Int) {
    at = start
    self.end = end
  }

  public mutating func next(_ bytes: Span<UInt8>) -> Field? {
    let limit = min(end, bytes.count)
    if at >= limit || bytes[at] == 0x0d { return nil }
    var line = FieldLine()
    guard case .line = FieldLine.scan(bytes, at, limit, into: &line) else { return nil }
    defer { at = line.next }
    return Field(
      name: Run(at, line.nameEnd), value: Run(line.valueStart, line.valueEnd), line: Run(at, line.next))
  }

  /// What there is of a field that may be there once.
  public enum Found: Sendable, Equatable, BitwiseCopyable {
    case none
    case one(Run)
    /// More than one: whoever decides by it must not choose.
    case many

    public var run: Run? {
      if case .one(let run) = self { return run }
      return nil
    }
  }

  /// The value of the field `name`, which is in lower case, from here on.
  public func find(_ bytes: Span<UInt8>, _ name: StaticString) -> Found {
    var rest = self
    var found = Found.none
    while let field = rest.next(bytes) {
      guard Grammar.matches(bytes, Int(field.name.start), Int(field.name.end), name) else { continue }
      if found != .none { return .many }
      found = .one(field.value)
    }
    return found
  }
}

/// A set of field names, made once and looked up without a string: by length, then by letters whatever their case.
public struct FieldNames: Sendable, Equatable {
  public enum Mistake: Error, Sendable, Equatable {
    /// No name, or one with a byte that no name has.
    case malformed(String)
    /// Frames or directs the message, concerns one hop, or is ours: it is not for edits.
    case reserved(String)
    /// More than 64 names.
    case tooMany
  }

  public static let countMax = 64

  private struct Entry: Sendable, Equatable, BitwiseCopyable {
    var start: Int
    var count: Int
  }

  private var entries: [Entry] = []
  private var letters: [UInt8] = []
  /// Bit n: a name has n letters; bit 63: 63 or more.
  private var lengths: UInt64 = 0

  public var count: Int { entries.count }
  public var isEmpty: Bool { entries.isEmpty }

  /// Names in any case.
  ///
  /// With `forEdits` such names are refused that a transform must not touch.
  public init(_ names: [String], forEdits: Bool = false) throws(Mistake) {
    if names.count > FieldNames.countMax { throw .tooMany }
    for name in names {
      let bytes = Array(name.utf8)
      if bytes.isEmpty || !bytes.allSatisfy(Grammar.isToken) { throw .malformed(name) }
      if forEdits && FieldNames.isReserved(bytes.span) { throw .reserved(name) }
      entries.append(Entry(start: letters.count, count: bytes.count))
      for byte in bytes { letters.append(byte &- 0x41 < 26 ? byte | 0x20 : byte) }
      lengths |= 1 << UInt64(min(63, bytes.count))
    }
  }

  /// Whether a transform may not set, add or remove this field.
  ///
  /// `Forwarded`, `X-Forwarded-…`, `traceparent` and the like are written by the hop itself, and `Host` is rewritten by
  /// its own way.
  public static func isReserved(_ name: Span<UInt8>) -> Bool {
    switch FieldName.of(name, 0, name.count) {
    case .other, .idempotencyKey, .retryAfter, .date, .proxyAuthorization, .proxyAuthenticate:
      return FieldName.isDisguised(name, 0, name.count)
    default: return true
    }
  }

  /// Which of the names the bytes are; -1 for none.
  public func index(_ bytes: Span<UInt8>, _ name: Run) -> Int {
    let length = name.count
    if lengths >> UInt64(min(63, length)) & 1 == 0 { return -1 }
    next: for index in 0..<entries.count where entries[index].count == length {
      let entry = entries[index]
      for i in 0..<length {
        var byte = bytes[Int(name.start) + i]
        if byte &- 0x41 < 26 { byte |= 0x20 }
        if byte != letters[entry.start + i] { continue next }
      }
      return index
    }
    return -1
  }
}

extension Cuts {
  /// Drops one more line; lines already dropped stay so.
  ///
  /// The lines of a head are at most ``HeadLimits/fieldsMax``, so that runs of whole lines always have room.
  mutating func insert(_ line: Run) {
    var at = 0
    while at < count && self[at].end < line.start { at += 1 }
    if at == count { return add(Int(line.start), Int(line.end)) }
    let run = self[at]
    if run.start <= line.start && run.end >= line.end { return }
    if run.end == line.start {
      replace(at, Run(Int(run.start), Int(line.end)))
      if at + 1 < count && self[at + 1].start == line.end {
        replace(at, Run(Int(run.start), Int(self[at + 1].end)))
        remove(at + 1)
      }
    } else if run.start == line.end {
      replace(at, Run(Int(line.start), Int(run.end)))
    } else {
      open(at, line)
    }
  }
}

extension RequestHead {
  /// Drops every line of these names; says which were there, bit by index.
  @discardableResult
  public mutating func drop(_ bytes: Span<UInt8>, _ names: FieldNames) -> UInt64 {
    var fields = Fields(self)
    return cuts.drop(bytes, &fields, names)
  }
}

extension ResponseHead {
  /// Drops every line of these names; says which were there, bit by index.
  @discardableResult
  public mutating func drop(_ bytes: Span<UInt8>, _ names: FieldNames) -> UInt64 {
    var fields = Fields(self)
    return cuts.drop(bytes, &fields, names)
  }
}

extension Cuts {
  fileprivate mutating func drop(_ bytes: Span<UInt8>, _ fields: inout Fields, _ names: FieldNames) -> UInt64 {
    var found: UInt64 = 0
    if names.isEmpty { return 0 }
    while let field = fields.next(bytes) {
      let index = names.index(bytes, field.name)
      if index < 0 { continue }
      found |= 1 << UInt64(index)
      insert(field.line)
    }
    return found
  }
}

/// Fields that are set, added and removed in a head: lines dropped, and ready lines put behind what is kept.
public struct HeadEdits: Sendable, Equatable {
  public enum Mistake: Error, Sendable, Equatable {
    case name(FieldNames.Mistake)
    /// A value with a control character, or with space at its ends.
    case value(String)
  }

  /// Set or removed: all their lines go.
  public private(set) var dropped: FieldNames
  /// The lines of what is set or added, as they go on.
  public private(set) var lines: [UInt8] = []

  /// Values are fixed; a value of the moment is dropped by its name here and written by ``HeadBuffer/appendField(_:_:)``.
  public init(
    set: [(name: String, value: String)] = [], add: [(name: String, value: String)] = [], remove: [String] = []
  ) throws(Mistake) {
    do {
      dropped = try FieldNames(set.map(\.name) + remove, forEdits: true)
      _ = try FieldNames(add.map(\.name), forEdits: true)
    } catch { throw .name(error) }
    for (name, value) in set + add {
      let bytes = Array(value.utf8)
      if !FieldValue.isClean(bytes.span) { throw .value(value) }
      lines += Array(name.utf8) + [0x3a, 0x20] + bytes + [0x0d, 0x0a]
    }
  }
}

/// What may stand in a field's value.
public enum FieldValue {
  /// Visible bytes, spaces and tabs within, nothing else (RFC 9110 §5.5): what is put into a head cannot end its line.
  public static func isClean(_ bytes: Span<UInt8>) -> Bool {
    if bytes.isEmpty { return true }
    for i in 0..<bytes.count where (bytes[i] < 0x20 && bytes[i] != 0x09) || bytes[i] == 0x7f { return false }
    let last = bytes[bytes.count - 1]
    return bytes[0] != 0x20 && bytes[0] != 0x09 && last != 0x20 && last != 0x09
  }
}

extension HeadBuffer {
  /// A field line; false, and nothing written, when the value would not be one.
  ///
  /// `name` is one that was checked when it was configured.
  public mutating func appendField(_ name: [UInt8], _ value: Span<UInt8>) -> Bool {
    if !FieldValue.isClean(value) { return false }
    append(name)
    append(": ")
    append(value)
    append("\r\n")
    return true
  }
}
