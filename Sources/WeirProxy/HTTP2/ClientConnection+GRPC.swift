// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirWire

/// What is different for a call of gRPC: its time, its silence, how it ends, and how it is refused.
extension ClientConnection {
  /// The longest silence within the request's body, and within the answer's.
  var bodyIdle: Int64 { isGRPC ? loop.times.grpcIdle : loop.times.bodyIdle }
  var answerIdle: Int64 { isGRPC ? loop.times.grpcIdle : loop.times.answerIdle }

  /// When its caller stops waiting.
  func grpcDeadline(_ now: Instant) -> Instant {
    grpcTimeout < 0 ? .distantFuture : startedAt.advanced(by: grpcTimeout)
  }

  /// The status that an answer means, as far as its head says: of a gRPC call that has ended with it, what its
  /// `grpc-status` says; of one that goes on, its end will tell.
  func meaning(of upstream: UpstreamConnection) -> UInt16 {
    awaitsStatus = false
    guard isGRPC, upstream.head.status == 200 else { return upstream.head.status }
    if let status = upstream.grpcStatus { return status.http }
    awaitsStatus = true
    return 200
  }

  /// The answer of a gRPC call has come whole; without a status it is UNKNOWN, as for its client.
  func settleGRPC(_ upstream: UpstreamConnection, now: Instant) {
    awaitsStatus = false
    status = (upstream.grpcStatus ?? .unknown).http
    epoch.flows.outcome(call, status: status, now: now)
  }

  /// Our own answer to a gRPC client: trailers-only, and when it may come again (gRFC A6).
  func writeGRPC(_ answer: ErrorAnswer, retryAfter: Int64) {
    loop.scratch.clear()
    loop.scratch.append(answer.grpcHead)
    loop.scratch.append(loop.dateLine)
    if retryAfter > 0 && retryAfter < .max / 2 {
      loop.scratch.append("grpc-retry-pushback-ms: ")
      loop.scratch.append(decimal: (retryAfter + 999_999) / 1_000_000)
      loop.scratch.append("\r\n")
    }
    loop.scratch.append("\r\n")
    writeScratch()
  }
}

extension Span<UInt8> {
  /// `application/grpc`, with or without what encodes its messages; not gRPC-Web, which is another protocol.
  var isGRPCType: Bool {
    begins(with: "application/grpc") && (count == 16 || self[16] == 0x2b || self[16] == 0x3b)
  }
}
