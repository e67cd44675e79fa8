// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform

import WeirProxy

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// A socket of a test, with a time limit on every read: a test that waits for what never comes fails, and does not hang.
final class Wire: @unchecked Sendable {
  // Unchecked: each is used by one thread at a time, the test's or its backend's.
  let socket: Descriptor
  private(set) var buffer: [UInt8] = []

  struct TimedOut: Error {}
  struct Ended: Error {}

  init(_ socket: Descriptor) { self.socket = socket }

  convenience init(port: Int) throws { try self.init(Connecting.tcp(address: "127.0.0.1", port: UInt16(port))) }

  func send(_ text: String) throws { try send(Array(text.utf8)) }
  func send(_ bytes: [UInt8]) throws { try socket.writeAll(bytes) }

  /// Sends nothing more, and can still read.
  func finishSending() { _ = shutdown(socket.number, Int32(SHUT_WR)) }

  /// Reads what comes next; false at the end.
  func readMore(within seconds: Int64 = 120) throws -> Bool {
    var interests = [Poll.Interest(socket.number)]
    if try Poll.wait(&interests, nanoseconds: seconds * 1_000_000_000) == 0 { throw TimedOut() }
    // A reset is an end, too.
    guard let bytes = try? socket.read(upTo: 64 << 10), !bytes.isEmpty else { return false }
    buffer += bytes
    return true
  }

  /// The head up to its empty line, taken out of the buffer; nil when the connection ends before it begins.
  func head() throws -> String? {
    while true {
      if let end = find([13, 10, 13, 10]) {
        let head = String(decoding: buffer[..<(end + 4)], as: UTF8.self)
        buffer.removeFirst(end + 4)
        return head
      }
      if try !readMore() {
        if buffer.isEmpty { return nil }
        throw Ended()
      }
    }
  }

  func take(_ count: Int) throws -> [UInt8] {
    while buffer.count < count { if try !readMore() { throw Ended() } }
    defer { buffer.removeFirst(count) }
    return Array(buffer[..<count])
  }

  func takeAll() throws -> [UInt8] {
    while try readMore() {}
    defer { buffer = [] }
    return buffer
  }

  func line() throws -> String {
    while true {
      if let end = find([13, 10]) {
        let line = String(decoding: buffer[..<end], as: UTF8.self)
        buffer.removeFirst(end + 2)
        return line
      }
      if try !readMore() { throw Ended() }
    }
  }

  private func find(_ mark: [UInt8]) -> Int? {
    guard buffer.count >= mark.count else { return nil }
    return buffer.withUnsafeBufferPointer { bytes in
      (0...(bytes.count - mark.count)).first { i in mark.indices.allSatisfy { bytes[i + $0] == mark[$0] } }
    }
  }

  /// The connection is over: the peer sends nothing more.
  func ends() throws -> Bool { try buffer.isEmpty && !readMore() }

  /// A message's body, by its head's own words.
  func body(of head: String, isAnswer: Bool, toHead: Bool = false) throws -> (body: [UInt8], trailers: [String]) {
    if toHead { return ([], []) }
    if isAnswer, let status = Int(head.split(separator: " ")[1]), status < 200 || status == 204 || status == 304 {
      return ([], [])
    }
    if let length = field("content-length", of: head).flatMap(Int.init) { return (try take(length), []) }
    if field("transfer-encoding", of: head) == "chunked" {
      var body: [UInt8] = []
      while true {
        let size = Int(try line().prefix { $0 != ";" }, radix: 16) ?? -1
        if size == 0 { break }
        body += try take(size)
        _ = try line()
      }
      var trailers: [String] = []
      while true {
        let trailer = try line()
        if trailer.isEmpty { return (body, trailers) }
        trailers.append(trailer)
      }
    }
    return (isAnswer ? try takeAll() : [], [])
  }

  func answer(toHead: Bool = false) throws -> Answer {
    guard let head = try head() else { throw Ended() }
    let (body, trailers) = try body(of: head, isAnswer: true, toHead: toHead)
    return Answer(head: head, body: body, trailers: trailers)
  }

  /// One request and its answer.
  func ask(_ text: String, toHead: Bool = false) throws -> Answer {
    try send(text)
    return try answer(toHead: toHead)
  }

  func get(_ path: String = "/", _ fields: String = "") throws -> Answer {
    try ask("GET \(path) HTTP/1.1\r\nHost: test.example\r\n\(fields)\r\n")
  }
}

func field(_ name: String, of head: String) -> String? {
  for line in head.split(separator: "\r\n").dropFirst() {
    let parts = line.split(separator: ":", maxSplits: 1)
    if parts.count == 2 && parts[0].lowercased() == name { return parts[1].trimmingCharacters(in: .whitespaces) }
  }
  return nil
}

struct Answer: Sendable {
  var head: String
  var body: [UInt8]
  var trailers: [String]
  var status: Int { Int(head.split(separator: " ")[1]) ?? 0 }
  var text: String { String(decoding: body, as: UTF8.self) }
  subscript(_ name: String) -> String? { field(name, of: head) }
  /// The reason of an answer that Weir made, from `Proxy-Status`.
  var reason: String? {
    self["proxy-status"].flatMap { $0.split(separator: "\"").dropFirst().first.map(String.init) }
  }
}

/// A server of a test: plain blocking sockets, a thread a connection, told what to do with each request.
final class Backend: Sendable {
  let port: Int
  let requests = Atomic<Int>(0)
  let connections = Atomic<Int>(0)
  private let listener: Descriptor
  private let isStopped = Atomic<Bool>(false)
  /// All that were made: with optimisation a value ends at its last use, and a test's last use of a server is its port.
  private static let kept = Mutex<[Backend]>([])

  /// `serve` is given each connection.
  init(port: Int = 0, _ serve: @escaping @Sendable (Wire, Backend) throws -> Void) throws {
    let (sockets, port) = try Listening.tcp(address: "127.0.0.1", port: UInt16(port))
    listener = sockets[0]
    self.port = Int(port)
    try SystemThread.start { [listener, weak self] in
      while let socket = try? Connecting.accept(from: listener) {
        guard let self, !self.isStopped.load(ordering: .relaxed) else { return }
        self.connections.add(1, ordering: .relaxed)
        try? SystemThread.start { try? serve(Wire(socket), self) }
      }
    }
    Backend.kept.withLock { $0.append(self) }
  }

  /// A server that reads each request whole and answers it with what `answer` makes of its head and body.
  convenience init(answering answer: @escaping @Sendable (String, [UInt8], Backend) -> String) throws {
    try self.init { wire, backend in
      while let head = try wire.head() {
        let (body, _) = try wire.body(of: head, isAnswer: false)
        backend.requests.add(1, ordering: .relaxed)
        try wire.send(answer(head, body, backend))
      }
    }
  }

  static func ok(_ text: String = "ok", _ fields: String = "") -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count)\r\n\(fields)\r\n\(text)"
  }
  static func status(_ status: Int, _ fields: String = "") -> String {
    "HTTP/1.1 \(status) X\r\nContent-Length: 0\r\n\(fields)\r\n"
  }

  var count: Int { requests.load(ordering: .relaxed) }

  func stop() {
    isStopped.store(true, ordering: .relaxed)
    _ = shutdown(listener.number, Int32(SHUT_RDWR))
  }
}

/// What a test wants of its proxy.
struct Setup: Sendable {
  var loops = 1
  var call = CallSettings()
  var route = FlowPlan.Route(edge: 0)
  var limits: [FlowPlan.Limit] = []
  var atOnce = Int32.max
  var configure: @Sendable (inout ProxyConfiguration) -> Void = { _ in }

  init() {
    // What a test waits for is short.
    call.backoff.first = .milliseconds(5)
    call.backoff.max = .milliseconds(20)
    // Nothing is late on a machine that does a hundred other things; a test about time sets its own.
    call.timeout = .seconds(100)
    call.connect = .seconds(50)
    call.queue.wait = .seconds(50)
  }
}

/// Runs a test's steps on threads of their own: they block, and the pool that Swift's tasks share has few threads.
final class OwnThreads: TaskExecutor {
  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    do {
      try SystemThread.start { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    } catch { fatalError("a test cannot start a thread: \(error)") }
  }
}

/// Starts a proxy before one service at these ports, and stops it when the body is done.
func withProxy(
  to ports: [Int], _ setup: Setup = Setup(), _ body: @Sendable (ProxyServer, Int) async throws -> Void
) async throws {
  try await withTaskExecutorPreference(OwnThreads()) { try await runProxy(to: ports, setup, body) }
}

private func runProxy(
  to ports: [Int], _ setup: Setup, _ body: (ProxyServer, Int) async throws -> Void
) async throws {
  var service = FlowPlan.Service(instances: ports.count, atOnce: setup.atOnce)
  service.ejection.base = .milliseconds(300)
  let plan = FlowPlan(
    services: [service], edges: [FlowPlan.Edge(service: 0, call: setup.call)], routes: [setup.route],
    limits: setup.limits)
  var routes = RouteTrie.Builder()
  try routes.add(path: "/only-get", methods: .get, route: 0)
  try routes.add(path: "/**", host: "test.example", route: 0)
  var configuration = ProxyConfiguration(
    plan: plan, listeners: [.init(.bind(host: "127.0.0.1", port: 0), .gateway(routes.build()))],
    addresses: [ports.map { .tcp(host: "127.0.0.1", port: $0) }])
  configuration.loops = setup.loops
  configuration.seed = 7
  configuration.accessLog = 10_000
  configuration.addressLimit.perAddress = 5_000
  configuration.addressLimit.rate = Rate(perSecond: 1e6)
  configuration.addressLimit.burst = 100_000
  setup.configure(&configuration)
  let server = try await ProxyServer.start(configuration)
  do { try await body(server, server.ports[0]) } catch {
    await server.stop()
    throw error
  }
  await server.stop()
}

/// Waits until something is so, at most two minutes: tests that only reckon may hold the pool that Swift's tasks share.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
  let clock = ContinuousClock()
  let end = clock.now + .seconds(120)
  while clock.now < end {
    if try await condition() { return }
    var none: [Poll.Interest] = []
    try Poll.wait(&none, nanoseconds: 2_000_000)
  }
  Issue.record("never came: \(what)")
}

/// Runs `body` on `count` threads of their own and waits for all.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) async throws {
  let tally = Threads(count)
  for index in 0..<count {
    try SystemThread.start {
      do {
        try body(index)
        tally.ended(nil)
      } catch { tally.ended(error) }
    }
  }
  try await eventually("\(count) threads end") { tally.left == 0 }
  if let error = tally.error { throw error }
}

private final class Threads: Sendable {
  private let state: Mutex<(left: Int, error: (any Error)?)>
  init(_ count: Int) { state = Mutex((count, nil)) }
  var left: Int { state.withLock { $0.left } }
  var error: (any Error)? { state.withLock { $0.error } }
  func ended(_ error: (any Error)?) {
    state.withLock {
      $0.left -= 1
      if let error { $0.error = error }
    }
  }
}

extension Wire {
  /// Closes with a reset, as a process that is killed with unread data does.
  func reset() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(socket.number, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    // The descriptor's owner closes it when the test lets it go; a second socket on the same number takes the reset.
    _ = shutdown(socket.number, Int32(SHUT_RDWR))
  }
}

/// Lets threads wait until the test opens it.
final class Gate: Sendable {
  private let semaphore = DispatchSemaphore(value: 0)
  func wait() {
    _ = semaphore.wait(timeout: .now() + 20)
    semaphore.signal()
  }
  func open() { semaphore.signal() }
}
