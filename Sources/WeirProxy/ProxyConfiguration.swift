// SPDX-License-Identifier: Apache-2.0
import WeirBase
package import WeirFlows
package import WeirMessaging
package import WeirPatterns
package import WeirWire

/// Everything the proxy is told: plain values, made by the runtime from a plan; no names of the file but where bytes of a
/// request are compared with them.
package struct ProxyConfiguration: Sendable {
  package var plan: FlowPlan
  package var listeners: [Listener]
  /// Event loops, each with a listening socket of its own on every address.
  package var loops = 1
  package var seed: UInt64 = 0
  package var limits = ProxyLimits()
  /// How much memory the process may hold; nil: nobody looks.
  package var memory: MemoryBound.Settings?
  /// What it holds, in bytes; nil where the system does not tell.
  package var heldMemory: @Sendable () -> Int? = { nil }
  /// Connections by address.
  package var addressLimit = AddressLimit.Settings()
  /// Peers whose `X-Forwarded-*` and `Forwarded` are believed.
  package var trusted: [AddressRange] = []
  /// By service and instance: where it listens; nil while it does not run.
  package var addresses: [[InstanceAddress?]]
  /// Services whose instances are spoken to in HTTP/2.
  package var http2Services: Set<Int> = []
  /// Routes whose calls of gRPC-Web are made into calls of gRPC.
  package var grpcWebRoutes: Set<Int> = []
  /// By service: which PROXY header its instances get before a connection's first byte; nil for none, and behind the end
  /// of the list.
  package var proxyHeaders: [ProxyVersion?] = []
  /// By service: how its instances are probed; nil for none.
  package var health: [HealthCheck?] = []
  /// By service: how connections to its instances are secured; nil for plain ones, and behind the end of the list.
  package var upstreamSecurity: [UpstreamSecurity?] = []
  /// By edge: what is answered when a call fails that has a fallback; nil leaves the answer out (204).
  package var fallbacks: [FallbackAnswer?] = []
  /// By limit of the plan: the field that it counts by; nil where the flow knows the key.
  package var limitKeys: [LimitKey?] = []
  /// By route: what the gateway itself does for it; nil for nothing.
  ///
  /// Empty when no route has any.
  package var edgePolicies: [EdgePolicy?] = []
  /// Calls from service to service: which edge a caller's call of a name is.
  package var calls: [CallName] = []
  /// By route: what it does beside sending requests on; nil for nothing.
  package var routes: [RoutePolicy?] = []
  /// By route: how its requests with a key are known again; nil for none.
  package var keyed: [KeyedRoute?] = []
  /// Where the state process listens; nil when nothing needs it.
  package var statePath: String?
  /// The queues that the state process keeps.
  package var queues: [QueueDeclaration] = []
  /// The logs that the state process keeps; their groups are among `queues`.
  package var logs: [LogDeclaration] = []
  /// How the state process copies its state; nil: it does not.
  package var backup: BackupDeclaration?
  /// Reads what programs send to queues, topics and streams.
  package var messaging = MessagingAPI()
  /// What becomes of messages on their way here, while a scenario is played; nil: nothing.
  package var road: MessageRoad?
  /// Topics whose events go out to addresses of partners.
  package var webhooks: [WebhookSettings] = []
  /// Those whose messages are brought to a service.
  package var pushes: [QueuePush] = []
  package var sagas: [SagaWork] = []
  /// By service: what of a request keeps it at one instance; nil for nothing, and behind the end of the list.
  package var affinities: [AffinityKey?] = []
  /// By service: the cookie that keeps a client at its instance.
  package var stickies: [StickyRule?] = []
  /// By which keys are told apart; those who are to agree have the same.
  package var affinityHash = KeyedHash(secret: 0, 0)
  /// Each request gets an id; nil: none.
  package var requestID: RequestIDRule?
  /// By service: what `$service` stands for.
  package var serviceNames: [String] = []
  /// Also write `Forwarded` (RFC 7239); without it only a chain that has it gets ours added.
  package var writesForwarded = false
  /// The share of new traces that is marked as sampled.
  package var traceSample = 0.01
  /// Keep records and ``AccessEntry`` values for the access log, up to so many a loop between two takes; 0 keeps none.
  package var accessLog = 0
  /// Who may come through routes with an access; nil when no route has one.
  package var access: AccessConfiguration?
  /// Keep the inputs of the flows for a replay, up to so many a loop; 0 keeps none.
  package var recording = 0

  package init(plan: FlowPlan, listeners: [Listener], addresses: [[InstanceAddress?]]) {
    self.plan = plan
    self.listeners = listeners
    self.addresses = addresses
  }

  package struct Listener: Sendable {
    package enum Source: Sendable {
      /// Listening sockets that are open already, one a loop; each loop duplicates nothing and owns its one from here on.
      case descriptors([Int32])
      /// Bind here; port 0 takes a free one.
      case bind(host: String, port: Int)
    }
    package enum Kind: Sendable {
      /// A gateway: routes by host, path and method.
      case gateway(RouteTrie)
      /// Sends every caller to the same address of the listener with TLS at this port.
      case redirect(port: Int)
      /// Bytes, to whoever the listener says.
      case tcp(TCPListener)
      /// The loopback listener of `WEIR_URL`: `/from/<caller>/call/<callee>/…`.
      case calls

      var isCalls: Bool { if case .calls = self { true } else { false } }
      var isTCP: Bool { if case .tcp = self { true } else { false } }
    }
    package var source: Source
    package var kind: Kind
    /// Nil for plain connections.
    package var security: ListenerSecurity?
    /// By which a reload knows it again; empty: its place in the list.
    package var name: String
    /// Connections begin with a PROXY header, from trusted networks only.
    package var isProxied = false

    package init(_ source: Source, _ kind: Kind, name: String = "", security: ListenerSecurity? = nil) {
      self.source = source
      self.kind = kind
      self.name = name
      self.security = security
    }
  }

  /// Gives every listener without a name its place in the list.
  mutating func nameListeners() {
    for i in listeners.indices {
      if listeners[i].name.isEmpty { listeners[i].name = "listener \(i + 1)" }
      if case .tcp(var tcp) = listeners[i].kind {
        tcp.name = listeners[i].name
        listeners[i].kind = .tcp(tcp)
      }
    }
  }

  package struct HealthCheck: Sendable, Equatable {
    /// The path that is asked for; an answer from 200 to 399 is a yes.
    package var ready: String
    package var live: String?
    /// In HTTP/2: the service that gRPC's health checking is asked for, instead of a path; empty for the whole server.
    package var grpc: String?
    /// A connection that is taken is a yes; nothing is asked.
    package var isConnect = false
    package var settings: HealthMonitor.Settings

    package init(ready: String, live: String? = nil, settings: HealthMonitor.Settings = .init()) {
      self.ready = ready
      self.live = live
      self.settings = settings
      self.settings.checksLiveness = live != nil
    }
  }

  package struct FallbackAnswer: Sendable {
    package var contentType: String
    package var body: [UInt8]

    package init(contentType: String = "application/json", body: [UInt8]) {
      self.contentType = contentType
      self.body = body
    }
  }

  /// What of a request a limit counts by.
  package enum LimitKey: Sendable {
    /// The value of one field, whose name is the only one of the set.
    case header(FieldNames)
    case cookie([UInt8])
    /// A claim of the caller, by its index among those that the identities keep (``IdentityGate``).
    case claim(Int)

    /// Nil for a name that no field can have.
    package static func named(_ header: String) -> LimitKey? { (try? FieldNames([header])).map { .header($0) } }
  }

  package struct CallName: Sendable {
    package var caller: String
    package var callee: String
    package var edge: Int

    package init(caller: String, callee: String, edge: Int) {
      self.caller = caller
      self.callee = callee
      self.edge = edge
    }
  }
}

/// How large, how slow and how many; DESIGN §10.
package struct ProxyLimits: Sendable {
  /// Bytes and fields of a head, of requests and answers.
  package var headBytes = 32 << 10
  package var headFields = 100
  /// Bytes of a request's body.
  package var bodyBytes: Int64 = 10 << 20
  /// A head must be whole so long after its first byte; Apache's `RequestReadTimeout` gives 20 s, HAProxy advises 10.
  package var headTime = Duration.seconds(10)
  /// The longest silence within a request's body; nginx's `client_body_timeout` is 60 s, HAProxy's advice 30.
  package var bodyIdle = Duration.seconds(30)
  /// The longest silence within an answer's body, of either side.
  package var answerIdle = Duration.seconds(60)
  /// How long a connection is kept without a request.
  package var keepAlive = Duration.seconds(60)
  /// The longest silence within a gRPC call, of both sides: its streams wait for events.
  ///
  /// Envoy's `stream_idle_timeout`.
  package var grpcIdle = Duration.seconds(300)
  /// How long a connection to an instance is kept without a request: below the 5 s of Node and uvicorn, the shortest of
  /// the servers in wide use.
  package var upstreamIdle = Duration.seconds(4)
  /// Idle connections kept by loop and instance.
  package var upstreamIdleConnections = 128
  /// A request's body is kept for a retry up to this size.
  package var replayBytes = 64 << 10
  /// What is left of a request's body after an early answer is read up to this size, so that the connection can stay.
  package var drainBytes = 64 << 10
  /// How long a connection that we end is read for, so that our answer is not lost by a reset.
  package var linger = Duration.seconds(1)
  /// Bytes waiting for a slow reader before the other side is paused, and the level at which it goes on.
  package var writeHigh = 256 << 10
  package var writeLow = 64 << 10
  /// HTTP/2: streams of one client's connection at the same time; 0 does not speak it.
  package var http2Streams = 100
  /// What one stream, and one connection, may send before we have read it.
  package var http2Window = 256 << 10
  package var http2ConnectionWindow = 1 << 20
  /// Bytes waiting for the window of one stream before the other side is paused.
  package var http2WriteHigh = 64 << 10
  /// Resets by one client within 30 s; one more ends its connection.
  package var http2Resets = 200

  package init() {}
}

/// Where an instance listens.
package enum InstanceAddress: Sendable, Equatable {
  case tcp(host: String, port: Int)
  /// A host of which somebody has found out the address, a number.
  case known(host: String, address: String, port: Int)
  case unix(path: String)
}
