// SPDX-License-Identifier: Apache-2.0

/// How a message's body is delimited (RFC 9112 §6).
public enum Framing: Sendable, Equatable, BitwiseCopyable {
  /// There is no body.
  case none
  /// So many bytes, at least 1.
  case length(Int64)
  case chunked
  /// To the end of the connection; answers only.
  case untilClose
}

/// What a request's head says, as numbers and runs of its bytes: no strings, no header objects.
///
/// Trivial and meant to be kept by a connection and scanned into again. The head that goes on is made of the kept lines
/// (what lies between ``cuts``) and of the fields that we write: see ``HeadBuffer/appendRequest(_:_:)``.
public struct RequestHead: Sendable, Equatable, BitwiseCopyable {
  public enum Method: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    case get, head, post, put, delete, options, patch, trace, other
  }

  public struct Flags: OptionSet, Sendable, BitwiseCopyable {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The connection may be used again after this request.
    public static var keepAlive: Flags { Flags(rawValue: 1) }
    /// HTTP/1.0, or the sender is not the one whose version counts.
    public static var http10: Flags { Flags(rawValue: 2) }
    /// `Expect: 100-continue`: the body comes when we have said so.
    public static var expectsContinue: Flags { Flags(rawValue: 4) }
    /// Another protocol is asked for; `h2c` is not counted, for it may be ignored (RFC 9110 §7.8).
    public static var upgrade: Flags { Flags(rawValue: 8) }
    public static var idempotencyKey: Flags { Flags(rawValue: 16) }
    /// `Weir-Retries: taken` from a trusted sender.
    public static var outerRetries: Flags { Flags(rawValue: 32) }
    /// The target was in absolute form: the origin form is passed on.
    public static var absolute: Flags { Flags(rawValue: 64) }
    /// A trusted sender gave `X-Forwarded-Proto` (or `-Host`): it is passed on, and not ours.
    public static var forwardedProto: Flags { Flags(rawValue: 128) }
    public static var forwardedHost: Flags { Flags(rawValue: 256) }
    /// The trusted `X-Forwarded-Proto` is https.
    public static var https: Flags { Flags(rawValue: 512) }
    /// HTTP/1.0 without a `Host` line, whose host is its absolute target's: the line is written.
    public static var hostless: Flags { Flags(rawValue: 1024) }
  }

  /// Bytes of the head, its empty line included, counted from the start of the buffer.
  public var length = 0
  public var method = Method.get
  public var flags: Flags = []
  public var framing = Framing.none
  /// Where the method begins: 0, or 2 after an empty line that was ignored (RFC 9112 §2.2).
  public var start = 0
  public var methodRun = Run.empty
  /// The path, `/` included; `*` for `OPTIONS *`; empty for an absolute-form target without one.
  public var path = Run.empty
  /// The query without its `?`.
  public var query = Run.empty
  /// The path and, if there is one, `?` and the query: what goes on.
  public var target = Run.empty
  /// Host and port as sent; empty when an HTTP/1.0 request has none.
  public var host = Run.empty
  /// Where the fields begin.
  public var fields = 0
  public var cuts = Cuts()
  /// Values of `X-Forwarded-For`, `Forwarded`, from a trusted sender: they go before ours.
  public var forwardedFor = RunList()
  public var forwarded = RunList()
  /// The value of the only `traceparent`; empty when there is none or more than one.
  public var traceparent = Run.empty
  /// Values of `tracestate`: passed on if the `traceparent` is good.
  public var tracestate = RunList()
  /// Milliseconds left, by `Weir-Deadline` of a trusted sender; -1 if not given.
  public var deadlineMilliseconds: Int64 = -1

  public init() {}

  @inline(__always)
  mutating func clear() {
    length = 0
    method = .get
    flags = []
    framing = .none
    start = 0
    path = .empty
    query = .empty
    target = .empty
    host = .empty
    fields = 0
    cuts.clear()
    forwardedFor = RunList()
    forwarded = RunList()
    traceparent = .empty
    tracestate = RunList()
    deadlineMilliseconds = -1
  }
}
