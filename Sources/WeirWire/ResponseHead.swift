// SPDX-License-Identifier: Apache-2.0

/// What an answer's head says, as numbers and runs of its bytes.
public struct ResponseHead: Sendable, Equatable, BitwiseCopyable {
  public struct Flags: OptionSet, Sendable, BitwiseCopyable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The connection may be used again after this answer.
    public static var keepAlive: Flags { Flags(rawValue: 1) }
    public static var http10: Flags { Flags(rawValue: 2) }
    /// `Proxy-Status` names a Weir: the answer is an inner Weir's refusal, not the callee's own.
    public static var fromWeir: Flags { Flags(rawValue: 4) }
    public static var date: Flags { Flags(rawValue: 8) }
    /// There is a `Content-Length`, also where there is no body.
    public static var contentLength: Flags { Flags(rawValue: 16) }
  }

  /// Bytes of the head, its empty line included.
  public var length = 0
  public var status: UInt16 = 0
  public var flags: Flags = []
  public var framing = Framing.none
  /// Where the fields begin.
  public var fields = 0
  public var cuts = Cuts()
  /// `Retry-After` in seconds; -1 when there is none that is a number.
  public var retryAfterSeconds: Int64 = -1
  /// `Retry-After` as a date; empty when it is none.
  public var retryAfterDate = Run.empty

  /// 100 … 199: an interim answer, another follows.
  public var isInformational: Bool { status < 200 }

  public init() {}

  @inline(__always)
  mutating func clear() {
    length = 0
    status = 0
    flags = []
    framing = .none
    fields = 0
    cuts.clear()
    retryAfterSeconds = -1
    retryAfterDate = .empty
  }
}
