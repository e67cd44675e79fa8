// SPDX-License-Identifier: Apache-2.0

/// How a gRPC call ended, and what that is in HTTP: by it breakers, retries and metrics judge a call whose `:status` is 200
/// whatever happened.
///
/// Source: gRPC's *Status codes and their use*; the mapping to HTTP is Envoy's (`Grpc::Utility::grpcToHttpStatus`), so that
/// UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN and DATA_LOSS are failures, and what the caller did
/// wrong is not.
public enum GRPCStatus: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  case ok, cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists, permissionDenied
  case resourceExhausted, failedPrecondition, aborted, outOfRange, notImplemented, `internal`, unavailable, dataLoss
  case unauthenticated

  /// The status of HTTP that says the same.
  public var http: UInt16 {
    switch self {
    case .ok: 200
    case .cancelled: 499
    case .unknown, .internal, .dataLoss: 500
    case .invalidArgument, .failedPrecondition, .outOfRange: 400
    case .deadlineExceeded: 504
    case .notFound: 404
    case .alreadyExists, .aborted: 409
    case .permissionDenied: 403
    case .resourceExhausted: 429
    // 501 would count as a failure of the callee; a method that it does not have is none.
    case .notImplemented: 404
    case .unavailable: 503
    case .unauthenticated: 401
    }
  }

  /// What a gRPC client is told when we answer with this status.
  ///
  /// As the protocol has its clients translate HTTP's statuses (*HTTP to gRPC Status Code Mapping*), but for those where
  /// gRPC has a better word: a deadline, a limit, what is too large.
  public init(refusal status: UInt16) {
    switch status {
    case 400: self = .internal
    case 401: self = .unauthenticated
    case 403: self = .permissionDenied
    case 404, 405, 501: self = .notImplemented
    case 408: self = .deadlineExceeded
    case 413, 429, 431: self = .resourceExhausted
    case 499: self = .cancelled
    case 502, 503: self = .unavailable
    case 504: self = .deadlineExceeded
    case 500...599: self = .internal
    default: self = .unknown
    }
  }
}

/// `grpc-timeout`: one to eight digits and a unit (gRPC over HTTP/2, *Requests*).
public enum GRPCTimeout {
  /// Nanoseconds; nil when it is none.
  public static func parse(_ value: Span<UInt8>) -> Int64? {
    guard value.count >= 2, value.count <= 9 else { return nil }
    var number: Int64 = 0
    for index in 0..<(value.count - 1) {
      let digit = value[index] &- 0x30
      guard digit <= 9 else { return nil }
      number = number * 10 + Int64(digit)
    }
    let unit: Int64
    switch value[value.count - 1] {
    case 0x48: unit = 3_600_000_000_000
    case 0x4d: unit = 60_000_000_000
    case 0x53: unit = 1_000_000_000
    case 0x6d: unit = 1_000_000
    case 0x75: unit = 1_000
    case 0x6e: unit = 1
    default: return nil
    }
    // Eight digits of hours are more than an Int64 of nanoseconds holds: as good as no end.
    let (product, overflow) = number.multipliedReportingOverflow(by: unit)
    return overflow ? .max / 4 : min(product, .max / 4)
  }
}
