// SPDX-License-Identifier: Apache-2.0

/// What is wrong with a head or a chunked body: the detail beside a refusal, for logs and for the answer's text.
public enum HeadError: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
  /// The request line is not `method SP target SP version CRLF`.
  case requestLine
  /// The target is none of the four forms of RFC 9112 §3.2, or has a byte that no target has.
  case target
  /// The path can be read in two ways: dot segments, empty segments, `\`, or escapes that are not the normal form.
  case ambiguousPath
  /// Neither HTTP/1.1 nor HTTP/1.0.
  case version
  /// `CONNECT`: there is no tunnel here.
  case connect
  /// A line end that is not CR LF, or a CR elsewhere.
  case lineEnding
  /// A line that begins with white space: obsolete folding (RFC 9112 §5.2).
  case folded
  /// A field's name is empty, has a byte that no token has, or white space before its colon.
  case fieldName
  /// A control character in a value.
  case fieldValue
  /// A name that some servers take for one that we decide by, such as `Content_Length`.
  case disguisedName
  /// `Host` is missing, repeated, not a host, or not the target's.
  case host
  /// `Content-Length` is not one number, or is there more than once.
  case contentLength
  /// `Transfer-Encoding` is not exactly `chunked`, or is there in HTTP/1.0.
  case transferEncoding
  /// Both `Content-Length` and `Transfer-Encoding`.
  case framingConflict
  /// `Connection` is not a list of tokens, or names a field that no hop may drop.
  case connection
  /// An expectation other than `100-continue`.
  case expectation
  /// More lines of a forwarding field than a chain of proxies makes.
  case forwarded
  case tooManyFields
  case headTooLarge
  case targetTooLong
  /// The status line is not `version SP status SP reason CRLF`.
  case statusLine
  /// A chunk's size is not a hexadecimal number, or too large.
  case chunkSize
  /// A chunk's extension is too long or has a control character; or there are too many of them.
  case chunkExtension
  /// A chunk does not end where its size says.
  case chunkEnd
  /// A trailer that is no field, that belongs into a head, or one too many.
  case trailer

  /// A sentence for whoever sent it.
  public var sentence: StaticString {
    switch self {
    case .requestLine: "The request line is malformed."
    case .target: "The request target is malformed."
    case .ambiguousPath: "The path can be read in more than one way; send it in its normal form."
    case .version: "The protocol version is not HTTP/1.1 or HTTP/1.0."
    case .connect: "CONNECT is not served here."
    case .lineEnding: "A line does not end with CR LF."
    case .folded: "A header field is folded over several lines."
    case .fieldName: "A header field's name is malformed."
    case .fieldValue: "A header field's value has a control character."
    case .disguisedName: "A header field's name differs from a reserved one only by underscores."
    case .host: "The Host header field is missing, repeated or malformed, or differs from the target."
    case .contentLength: "Content-Length is malformed or repeated."
    case .transferEncoding: "Transfer-Encoding is not exactly chunked."
    case .framingConflict: "Content-Length and Transfer-Encoding exclude each other."
    case .connection: "The Connection header field is malformed."
    case .expectation: "Only the expectation 100-continue is known here."
    case .forwarded: "A forwarding header field is repeated too often."
    case .tooManyFields: "There are too many header fields."
    case .headTooLarge: "The header fields are too large."
    case .targetTooLong: "The request target is too long."
    case .statusLine: "The status line is malformed."
    case .chunkSize: "A chunk's size is malformed."
    case .chunkExtension: "A chunk's extension is malformed or too long."
    case .chunkEnd: "A chunk does not end where its size says."
    case .trailer: "A trailer field is malformed or not allowed."
    }
  }
}

/// What a scan found.
public enum HeadOutcome: Sendable, Equatable, BitwiseCopyable {
  /// The head is whole and good.
  case complete
  /// So far nothing is wrong; the head is not whole.
  case needMore
  case refused(HeadError)
}

/// How large a head may be.
public struct HeadLimits: Sendable, Equatable, BitwiseCopyable {
  /// Bytes of a head, its last empty line included; below 64 KiB, because a ``Run`` has two bytes each.
  public var bytes = 32 << 10
  /// Fields of a head; at most ``fieldsMax``.
  public var fields = 100

  /// With so many fields no head has more than half as many runs to drop, for neighbours are joined: ``Cuts`` has
  /// that many places, so it cannot overflow.
  public static let fieldsMax = 100
  public static let bytesMax = 0xffff

  public init(bytes: Int = 32 << 10, fields: Int = 100) {
    self.bytes = min(max(64, bytes), HeadLimits.bytesMax)
    self.fields = min(max(1, fields), HeadLimits.fieldsMax)
  }
}
