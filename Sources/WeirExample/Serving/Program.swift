// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Dispatch
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Synchronization

/// What `web`, `api` and `search` have in common: listening, workers, service time, faults, health, log, graceful end.
///
/// A request passes: log and problems → `/healthz`, `/faults`, `/state` → faults → a worker slot → the handler → the wait that
/// makes its own time as long as was drawn. The real work is part of the drawn time, not added to it, so that a program
/// with `work 4ms` takes 4 ms and not 4 ms and a query.
final class Program: Sendable {
  /// How long after SIGTERM the process is gone, whatever still runs: the promise is 5 s.
  static let stopWithin = 4.5

  let name: String
  let options: ProgramOptions
  let work: ServiceTime
  let slots: WorkerSlots
  let board: FaultBoard
  let faultToken: String?
  private let random: Mutex<Chance>
  private let counts = Mutex((inside: 0, served: 0))

  init(name: String, options: ProgramOptions) throws {
    self.name = name
    self.options = options
    work = try options.work()
    slots = WorkerSlots(count: options.workers, waitingMax: options.waitingMax)
    let port = try options.listeningPort()
    var seeds = Chance(seed: options.seed ^ (UInt64(port) << 32))
    random = Mutex(Chance(seed: seeds.next()))
    board = FaultBoard(seed: seeds.next())
    let token = ProcessInfo.processInfo.environment["WEIR_EXAMPLE_FAULTS"]
    faultToken = token?.isEmpty == true ? nil : token
  }

  func draw(_ time: ServiceTime) -> Int64 {
    time.isNone ? 0 : random.withLock { time.draw(using: &$0) }
  }

  /// A request for the program itself has come; `/healthz` and the admin path are not counted.
  func entered() { counts.withLock { $0.inside += 1 } }

  func left() {
    counts.withLock {
      $0.inside -= 1
      $0.served += 1
    }
  }

  /// What the program is doing now, for tests and drills.
  private struct State: Encodable {
    /// Requests that have come and have no answer yet.
    var inside: Int
    /// Those of them that hold a worker.
    var working: Int
    /// Those of them that wait for one.
    var waiting: Int
    var served: Int
  }

  private var state: State {
    let (inside, served) = counts.withLock { $0 }
    let (working, waiting) = slots.use
    return State(inside: inside, working: working, waiting: waiting, served: served)
  }

  /// Serves until SIGTERM or SIGINT, then finishes what was begun.
  ///
  /// `ready` is asked by `/healthz`: it throws, or says in a sentence, why the program cannot work now.
  func serve(
    ready: @escaping @Sendable () async throws -> String?,
    routes: (RouterMethodsGroup) -> Void
  ) async throws {
    let router = Router(context: ExampleContext.self, options: .autoGenerateHeadEndpoints)
    router.add(middleware: Outermost(program: self))
    router.get("/healthz") { [self] _, _ in
      if let health = board.current.health {
        return health ? Program.ok : Problem(.serviceUnavailable, "told to be unhealthy").response
      }
      if let reason = try await ready() { throw Problem(.serviceUnavailable, reason) }
      return Program.ok
    }
    router.on("/faults", method: .get) { [self] request, _ in
      try checkToken(request)
      return try json(board.current)
    }
    router.get("/state") { [self] request, _ in
      try checkToken(request)
      return try json(state)
    }
    router.on("/faults", method: .post) { [self] request, _ in
      try checkToken(request)
      let body = try await body(of: request, upTo: 4096, what: "a fault")
      board.set(try decode(Faults.self, from: body))
      return try json(board.current)
    }
    routes(router.group().add(middleware: Working(program: self)))

    var logger = Logger(label: name)
    logger.logLevel = .critical
    let port = try options.listeningPort()
    let socket = options.socket.flatMap { $0.isEmpty ? nil : $0 }
    let application = Application(
      router: router,
      configuration: .init(
        address: socket.map { .unixDomainSocket(path: $0) } ?? .hostname(options.host, port: port), serverName: nil,
        reuseAddress: true),
      onServerRunning: { [self] channel in
        LogLine.write([
          ("program", .text(name)), ("event", .text("started")), ("host", .text(options.host)),
          ("port", .number(channel.localAddress?.port ?? port)),
          ("pid", .number(Int(ProcessInfo.processInfo.processIdentifier))),
        ])
      },
      logger: logger)
    let signals = endInTime()
    do {
      try await application.runService()
    } catch let error as IOError {
      let reason =
        error.errnoCode == EADDRINUSE ? "another program listens there" : String(cString: strerror(error.errnoCode))
      throw Refusal("cannot listen on \(socket ?? "\(options.host):\(port)"): \(reason)")
    }
    withExtendedLifetime(signals) { logStopped() }
  }

  typealias RouterMethodsGroup = RouterGroup<ExampleContext>

  private static let ok = Response(
    status: .ok, headers: [.contentType: "text/plain", .cacheControl: "no-store"],
    body: ResponseBody(byteBuffer: ByteBuffer(string: "ok\n")))

  /// The admin path is not there for who has no token.
  private func checkToken(_ request: Request) throws {
    guard let faultToken, request.headers[.faultToken] == faultToken else { throw HTTPError(.notFound) }
  }

  /// After a stop signal the process ends within ``stopWithin`` seconds, even if a request hangs.
  private func endInTime() -> [any DispatchSourceSignal] {
    [SIGTERM, SIGINT].map { number in
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { [self] in
        DispatchQueue.global().asyncAfter(deadline: .now() + Program.stopWithin) { [self] in
          logStopped()
          exit(0)
        }
      }
      source.resume()
      return source
    }
  }

  private func logStopped() {
    let (inside, served) = counts.withLock { $0 }
    LogLine.write([
      ("program", .text(name)), ("event", .text("stopped")), ("served", .number(served)),
      ("abandoned", .number(inside)),
    ])
  }
}

extension HTTPField.Name {
  static let faultToken = known("x-fault-token")
  static let degraded = known("x-degraded")
  static let traceparent = known("traceparent")
  static let deadline = known("weir-deadline")
  static let retries = known("weir-retries")
  static let proxyStatus = known("proxy-status")

  private static func known(_ name: String) -> HTTPField.Name {
    guard let field = HTTPField.Name(name) else { preconditionFailure("'\(name)' is a field name") }
    return field
  }
}

/// A JSON answer.
func json(
  _ value: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
) throws -> Response {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return jsonResponse(ByteBuffer(bytes: try encoder.encode(value)), status: status, headers: headers)
}

/// Bytes that are JSON already, as an answer.
func jsonResponse(_ body: ByteBuffer, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Response {
  var headers = headers
  headers[.contentType] = "application/json"
  headers[.cacheControl] = "no-store"
  return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: body))
}

/// The whole body of a request, or 413.
func body(of request: Request, upTo bytes: Int, what: String) async throws -> ByteBuffer {
  let tooLarge = Problem(
    .contentTooLarge, "\(what) may be at most \(bytes) bytes long", fields: [.connection: "close"])
  if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > bytes { throw tooLarge }
  do {
    return try await request.body.collect(upTo: bytes)
  } catch is NIOTooManyBytesError {
    throw tooLarge
  }
}

/// A value from a JSON body, or 400 with what is wrong.
func decode<Value: Decodable>(_ type: Value.Type, from body: ByteBuffer) throws -> Value {
  do {
    return try JSONDecoder().decode(type, from: Data(body.readableBytesView))
  } catch let problem as Problem {
    throw problem
  } catch DecodingError.keyNotFound(let key, _) {
    throw Problem(.badRequest, "'\(key.stringValue)' is missing")
  } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
    let path = context.codingPath.map(\.stringValue).joined(separator: ".")
    throw Problem(.badRequest, path.isEmpty ? "the body is not of the right form" : "'\(path)' is of the wrong type")
  } catch DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty {
    throw Problem(.badRequest, context.debugDescription)
  } catch {
    throw Problem(.badRequest, "the body is not JSON")
  }
}
