// SPDX-License-Identifier: Apache-2.0

/// Why a request ended otherwise than with its callee's own answer: a closed list, one word everywhere.
///
/// The same ``name`` stands in `Proxy-Status` (RFC 9209), problem+json, the access log, metrics, events and forecasts.
/// A case is never renamed and never reused.
public enum Reason: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  /// The callee's own answer reached the caller.
  case none = 0

  // The client's doing.
  /// The request breaks HTTP's grammar or is ambiguous (RFC 9112).
  case badRequest
  /// The request line is longer than the head may be.
  case targetTooLong
  /// The head is over its bytes or its count of fields.
  case headTooLarge
  /// The body is over its limit.
  case bodyTooLarge
  /// Head or body came too slowly, or stopped coming.
  case senderTooSlow
  /// No route has this host and path.
  case noRoute
  /// A route has the path, for other methods.
  case methodNotAllowed
  /// An `Upgrade` or `CONNECT` that is not offered here.
  case upgradeNotSupported
  /// An expectation other than `100-continue`.
  case expectationFailed
  /// This client's requests come faster than its limit.
  case limitReached
  /// This address has too many connections, or opens them too fast.
  case tooManyConnections
  /// The caller went away before the answer.
  case callerGone

  // Ours, for the callee's sake.
  /// The callee's breaker is open.
  case breakerOpen
  /// No instance is up.
  case noHealthyInstance
  /// Every place is taken and the queue is full.
  case queueFull
  /// Waited for a place as long as the queue allows.
  case queueTimeout
  /// The total time was over.
  case deadlinePassed

  // The callee's doing.
  /// Connecting was refused or failed.
  case connectFailed
  /// Connecting took too long.
  case connectTimeout
  /// The connection was lost before the answer began.
  case connectionLost
  /// The connection was lost within the answer's body.
  case answerCut
  /// An attempt took longer than an attempt may.
  case attemptTimeout
  /// The answer breaks HTTP's grammar.
  case badAnswer

  // Ours.
  /// The system is stopping, and the request might not be over in time.
  case draining
  /// As many requests are in work as this node may have.
  case overloaded
  /// A defect of ours.
  case internalError

  // Added later, so that the numbers above stay what they are.
  /// The callee answered with a failure (5xx or 429), and its fallback was given instead; the callee's doing.
  case failedAnswer
  /// The route needs an identity, and the request carries none.
  case identityMissing
  /// A token, key, signature, password or certificate that does not hold.
  case identityInvalid
  /// Nobody can say now whether it holds: keys were never loaded, a service does not answer.
  case identityUnavailable
  /// A signed request that has been taken before, or is too old to be told from one.
  case replayed
  /// Known or not, this caller may not come through this route.
  case notAllowed
  /// This address has failed to say who it is too often.
  case tooManyFailures
  /// The connection to the callee could not be secured.
  case tlsFailed
  /// Nothing has moved in a tunnel (WebSocket, TCP) for as long as it may be silent.
  case tunnelIdle
  /// The route is past its day, and answers no more (RFC 8594).
  case retired
  /// The route wants an idempotency key, and the request carries none.
  case keyMissing
  /// An idempotency key that is none: empty, too long, twice, or with bytes that none has.
  case keyMalformed
  /// The key was used for another request.
  case keyMismatch
  /// A request with this key is still being done.
  case keyInUse
  /// The request with this key was done, and its answer was too large to be kept.
  case answerNotKept
  /// The state process does not answer.
  case stateUnavailable
  /// There is no room on the disk for what must be stored.
  case stateFull
  /// The service is busy, and this matters less than what else there is to do.
  case shed
  /// The service has refused so many lately that this one was not sent.
  case throttled
  /// Of the instances that this call may ask (`subset`) none is up.
  case subsetEmpty
  /// No queue has this name.
  case queueUnknown
  /// No message of the queue has this id, or it is forgotten.
  case messageUnknown
  /// A message, or what is said of one, is not what it must be.
  case messageMalformed
  /// The queue holds as many messages, or as many bytes, as it may.
  case backlogFull
  /// The lease was over before it was settled: the message is another's, or gone.
  case leaseLost
  /// No topic has this name.
  case topicUnknown
  /// No stream has this name.
  case streamUnknown
  /// Nobody of this name hears the topic, or makes something of the stream.
  case groupUnknown
  /// The stream, or a document, has another version than the one that was expected.
  case versionConflict
  /// An event that does not fit its topic's schema, or of a type that its stream does not take.
  case eventMisfit
  /// No snapshot was kept of this stream.
  case snapshotUnknown
  /// No saga has this name, or none of it this id.
  case sagaUnknown
  /// The body is not what its route changes: no JSON, compressed, or of another form.
  case bodyMisfit

  /// How many cases there are: the length of a table by reason.
  public static var count: Int { Int(Reason.bodyMisfit.rawValue) + 1 }

  /// Who is to blame, for logs and metrics.
  public enum Side: UInt8, Sendable, BitwiseCopyable {
    case none, client, upstream, us

    public var name: StaticString {
      switch self {
      case .none: "none"
      case .client: "client"
      case .upstream: "upstream"
      case .us: "us"
      }
    }
  }

  /// The one word for it.
  public var name: StaticString { entry.name }

  /// The status of our own answer.
  ///
  /// Two are never sent and stand in logs only: 499 of ``callerGone`` (nginx's number), for nobody is there to read it, and
  /// 502 of ``failedAnswer``, in whose stead the fallback went out. 0 only for ``none``.
  public var status: UInt16 { entry.status }

  /// The error type of `Proxy-Status` (RFC 9209 §2.3).
  public var proxyStatus: StaticString { entry.proxyStatus }

  public var side: Side { entry.side }

  /// A sentence for the caller: no name or address of what lies behind us.
  public var sentence: StaticString { entry.sentence }

  private struct Entry {
    var name: StaticString
    var status: UInt16
    var proxyStatus: StaticString
    var side: Side
    var sentence: StaticString

    init(_ name: StaticString, _ status: UInt16, _ proxyStatus: StaticString, _ side: Side, _ sentence: StaticString) {
      self.name = name
      self.status = status
      self.proxyStatus = proxyStatus
      self.side = side
      self.sentence = sentence
    }
  }

  private var entry: Entry {
    switch self {
    case .none: Entry("none", 0, "", .none, "")
    case .badRequest:
      Entry("bad-request", 400, "http_request_error", .client, "The request is malformed or ambiguous.")
    case .targetTooLong:
      Entry("target-too-long", 414, "http_request_error", .client, "The request target is too long.")
    case .headTooLarge:
      Entry("head-too-large", 431, "http_request_error", .client, "The request's header fields are too large.")
    case .bodyTooLarge:
      Entry("body-too-large", 413, "http_request_error", .client, "The request's body is too large.")
    case .senderTooSlow:
      Entry("sender-too-slow", 408, "http_request_error", .client, "The request did not arrive in time.")
    case .noRoute:
      Entry("no-route", 404, "http_request_denied", .client, "Nothing is served at this address.")
    case .retired: Entry("retired", 410, "http_request_denied", .client, "This is no longer served.")
    case .methodNotAllowed:
      Entry("method-not-allowed", 405, "http_request_denied", .client, "This method is not allowed here.")
    case .upgradeNotSupported:
      Entry("upgrade-not-supported", 501, "http_upgrade_failed", .client, "This upgrade is not supported here.")
    case .expectationFailed:
      Entry("expectation-failed", 417, "http_request_error", .client, "This expectation cannot be met.")
    case .limitReached:
      Entry("limit-reached", 429, "http_request_denied", .client, "Too many requests; try again later.")
    case .tooManyConnections:
      Entry("too-many-connections", 503, "connection_limit_reached", .client, "Too many connections from this address.")
    case .callerGone: Entry("caller-gone", 499, "http_request_error", .client, "The caller went away.")
    case .breakerOpen:
      Entry("breaker-open", 503, "destination_unavailable", .us, "The service is failing and is left to recover.")
    case .noHealthyInstance:
      Entry("no-healthy-instance", 503, "destination_unavailable", .upstream, "The service is not available now.")
    case .queueFull:
      Entry("queue-full", 503, "connection_limit_reached", .us, "The service is busy and its queue is full.")
    case .queueTimeout:
      Entry("queue-timeout", 503, "connection_limit_reached", .us, "The service was busy for too long.")
    case .deadlinePassed:
      Entry("deadline-passed", 504, "http_response_timeout", .us, "The time for this request was over.")
    case .connectFailed:
      Entry("connect-failed", 502, "connection_refused", .upstream, "The service could not be reached.")
    case .connectTimeout:
      Entry("connect-timeout", 504, "connection_timeout", .upstream, "The service could not be reached in time.")
    case .connectionLost:
      Entry("connection-lost", 502, "connection_terminated", .upstream, "The service broke off before it answered.")
    case .answerCut:
      Entry("answer-cut", 502, "http_response_incomplete", .upstream, "The service broke off within its answer.")
    case .attemptTimeout:
      Entry("attempt-timeout", 504, "http_response_timeout", .upstream, "The service did not answer in time.")
    case .badAnswer:
      Entry("bad-answer", 502, "http_protocol_error", .upstream, "The service's answer was malformed.")
    case .draining: Entry("draining", 503, "destination_unavailable", .us, "This server is about to stop.")
    case .overloaded: Entry("overloaded", 503, "proxy_internal_response", .us, "This server is busy; try again later.")
    case .internalError: Entry("internal-error", 500, "proxy_internal_error", .us, "This server made a mistake.")
    // RFC 9209 has no type for an answer that is well-formed and a failure, as an intermediary passes it on;
    // `http_protocol_error` would send the reader looking for malformed HTTP.
    case .failedAnswer:
      Entry("failed-answer", 502, "destination_unavailable", .upstream, "The service answered with a failure.")
    case .identityMissing:
      Entry("identity-missing", 401, "http_request_denied", .client, "Say who you are: credentials are needed here.")
    case .identityInvalid:
      Entry("identity-invalid", 401, "http_request_denied", .client, "These credentials are not valid.")
    case .identityUnavailable:
      Entry("identity-unavailable", 503, "proxy_internal_response", .us, "Credentials cannot be checked now.")
    case .replayed:
      Entry("replayed", 401, "http_request_denied", .client, "This signed request is too old or has been seen.")
    case .notAllowed: Entry("not-allowed", 403, "http_request_denied", .client, "This is not allowed to you.")
    case .tooManyFailures:
      Entry("too-many-failures", 429, "http_request_denied", .client, "Too many wrong credentials; try again later.")
    case .tlsFailed:
      Entry("tls-failed", 502, "tls_protocol_error", .upstream, "The service could not be reached securely.")
    case .keyMissing:
      Entry("key-missing", 400, "http_request_error", .client, "This request needs an idempotency key.")
    case .keyMalformed:
      Entry("key-malformed", 400, "http_request_error", .client, "The idempotency key is malformed.")
    case .keyMismatch:
      Entry("key-mismatch", 422, "http_request_denied", .client, "This idempotency key was used for another request.")
    case .keyInUse:
      Entry("key-in-use", 409, "http_request_denied", .client, "A request with this idempotency key is being done.")
    case .answerNotKept:
      Entry("answer-not-kept", 409, "http_request_denied", .client, "This was done; its answer was too large to keep.")
    case .stateUnavailable:
      Entry("state-unavailable", 503, "proxy_internal_response", .us, "What was done before cannot be looked up now.")
    case .stateFull:
      Entry("state-full", 507, "proxy_internal_response", .us, "There is no room to store what is to be done.")
    case .tunnelIdle:
      Entry("tunnel-idle", 408, "connection_read_timeout", .client, "Nothing was sent for too long.")
    case .shed: Entry("shed", 503, "connection_limit_reached", .us, "The service is busy with what matters more.")
    case .throttled:
      Entry("throttled", 503, "connection_limit_reached", .us, "The service is busy; this request was not sent to it.")
    case .subsetEmpty:
      Entry(
        "subset-empty", 503, "destination_unavailable", .upstream, "This part of the service is not available now.")
    case .queueUnknown: Entry("queue-unknown", 404, "http_request_denied", .client, "There is no queue of this name.")
    case .messageUnknown:
      Entry("message-unknown", 404, "http_request_denied", .client, "There is no message of this id.")
    case .messageMalformed:
      Entry("message-malformed", 422, "http_request_error", .client, "The message, or a word about it, is malformed.")
    case .backlogFull:
      Entry("backlog-full", 429, "http_request_denied", .client, "The queue holds as much as it may; try again later.")
    case .leaseLost:
      Entry("lease-lost", 409, "http_request_denied", .client, "This lease is over; the message is another's, or gone.")
    case .topicUnknown: Entry("topic-unknown", 404, "http_request_denied", .client, "There is no topic of this name.")
    case .streamUnknown:
      Entry("stream-unknown", 404, "http_request_denied", .client, "There is no stream of this name.")
    case .groupUnknown:
      Entry("group-unknown", 404, "http_request_denied", .client, "Nobody of this name hears what is published here.")
    case .versionConflict:
      Entry("version-conflict", 409, "http_request_denied", .client, "It has another version than the expected one.")
    case .eventMisfit:
      Entry("event-misfit", 422, "http_request_error", .client, "The event is not what is taken here.")
    case .snapshotUnknown:
      Entry("snapshot-unknown", 404, "http_request_denied", .client, "No snapshot was kept of this stream.")
    case .bodyMisfit:
      Entry("body-misfit", 422, "http_request_error", .client, "The body is not what is taken here.")
    case .sagaUnknown:
      Entry("saga-unknown", 404, "http_request_denied", .client, "There is no saga of this name, or none of this id.")
    }
  }
}

/// Where in a request's life it ended.
public enum Phase: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  case accept, head, body, queue, connect, send, wait, receive, drain, done

  public var name: StaticString {
    switch self {
    case .accept: "accept"
    case .head: "head"
    case .body: "body"
    case .queue: "queue"
    case .connect: "connect"
    case .send: "send"
    case .wait: "wait"
    case .receive: "receive"
    case .drain: "drain"
    case .done: "done"
    }
  }
}
