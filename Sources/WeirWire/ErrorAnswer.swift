// SPDX-License-Identifier: Apache-2.0

/// An answer of our own that says why: `Proxy-Status` (RFC 9209) and problem+json (RFC 9457), made once for each reason.
///
/// Two pieces, so that fields of the moment (`Date`, `Retry-After`, `Connection`) go between them.
public struct ErrorAnswer: Sendable, Equatable {
  /// Status line and fields, no empty line.
  public var head: [UInt8]
  public var body: [UInt8]
  /// The head for a gRPC client: all that it is told stands in the one block of fields ("trailers-only").
  public var grpcHead: [UInt8]
  /// The lines of it that a gRPC client reads as trailers.
  public var grpcTrailers: [UInt8]
  public var status: UInt16
  /// The line that says why, which is in `head`, too.
  public var proxyStatus: [UInt8]

  /// - Parameters:
  ///   - name: the reason's one word.
  ///   - error: the error type of RFC 9209.
  ///   - detail: a sentence for the caller.
  public init(status: UInt16, name: StaticString, error: StaticString, detail: StaticString) {
    self.status = status
    var text = HeadBuffer(capacity: 512)
    text.append("{\"type\":\"about:blank\",\"title\":\"")
    text.append(StatusPhrase.of(status))
    text.append("\",\"status\":")
    text.append(decimal: Int64(status))
    text.append(",\"detail\":\"")
    text.append(detail)
    text.append("\",\"reason\":\"")
    text.append(name)
    text.append("\"}\n")
    body = Array(text.storage.prefix(text.count))

    text.clear()
    text.append("HTTP/1.1 ")
    text.append(decimal: Int64(status))
    text.append(" ")
    text.append(StatusPhrase.of(status))
    text.append("\r\nContent-Type: application/problem+json\r\nContent-Length: ")
    text.append(decimal: Int64(body.count))
    text.append("\r\nCache-Control: no-store\r\n")
    let start = text.count
    text.append("Proxy-Status: weir; error=")
    text.append(error)
    text.append("; details=\"")
    text.append(name)
    text.append("\"\r\n")
    head = Array(text.storage.prefix(text.count))
    proxyStatus = Array(head[start...])

    text.clear()
    text.append("grpc-status: ")
    text.append(decimal: Int64(GRPCStatus(refusal: status).rawValue))
    // Our sentences have nothing in them that would have to be escaped.
    text.append("\r\ngrpc-message: ")
    text.append(detail)
    text.append("\r\n")
    grpcTrailers = Array(text.storage.prefix(text.count))

    text.clear()
    text.append("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n")
    text.append(grpcTrailers)
    text.append(proxyStatus)
    grpcHead = Array(text.storage.prefix(text.count))
  }
}

/// The phrases of the registry (RFC 9110 §15) for the statuses that we send.
public enum StatusPhrase {
  public static func of(_ status: UInt16) -> StaticString {
    switch status {
    case 100: "Continue"
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 204: "No Content"
    case 206: "Partial Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 304: "Not Modified"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 406: "Not Acceptable"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 411: "Length Required"
    case 412: "Precondition Failed"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 415: "Unsupported Media Type"
    case 416: "Range Not Satisfiable"
    case 417: "Expectation Failed"
    case 421: "Misdirected Request"
    case 422: "Unprocessable Content"
    case 425: "Too Early"
    case 426: "Upgrade Required"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 451: "Unavailable For Legal Reasons"
    case 499: "Client Closed Request"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    default: "Unknown"
    }
  }
}
