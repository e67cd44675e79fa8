// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// Turns errors into problems and writes the access line.
struct Outermost: RouterMiddleware {
  let program: Program

  func handle(
    _ request: Request, context: ExampleContext,
    next: @concurrent (Request, ExampleContext) async throws -> Response
  ) async throws -> Response {
    var response: Response
    do {
      response = try await next(request, context)
    } catch {
      response = Problem(of: error).response
      if response.status == .internalServerError, !(error is Problem) {
        LogLine.write([
          ("program", .text(program.name)), ("event", .text("error")), ("path", .text(request.uri.path)),
          ("error", .text("\(error)")),
        ])
      }
    }
    if program.options.logRequests {
      let took = Double((NIODeadline.now() - context.spent.began).nanoseconds) / 1e6
      LogLine.write([
        ("program", .text(program.name)), ("event", .text("request")),
        ("method", .text(request.method.rawValue)), ("path", .text(request.uri.string)),
        ("status", .number(Int(response.status.code))), ("ms", .milliseconds(took)),
        ("traceparent", .text(request.headers[.traceparent] ?? "")),
      ])
    }
    return response
  }
}

/// Faults, a worker slot, and the wait that fills the drawn time.
struct Working: RouterMiddleware {
  let program: Program

  func handle(
    _ request: Request, context: ExampleContext,
    next: @concurrent (Request, ExampleContext) async throws -> Response
  ) async throws -> Response {
    program.entered()
    defer { program.left() }
    let fault = program.board.strike()
    if fault?.die == .before { kill(getpid(), SIGKILL) }
    if fault?.close == true {
      context.channel.close(promise: nil)
      throw Problem(.internalServerError, "the connection was closed on purpose")
    }
    if let status = fault?.status {
      throw Problem(.init(code: status), "told to answer \(status)")
    }
    guard await program.slots.acquire() else {
      throw Problem(.serviceUnavailable, "too many requests wait for a worker", fields: [.retryAfter: "1"])
    }
    defer { program.slots.release() }
    let began = NIODeadline.now()
    context.spent.owe(program.draw(program.work) + (fault?.slow?.nanoseconds ?? 0))
    if fault?.hang == true { await program.board.hang() }
    let response = await Result { try await next(request, context) }
    if fault?.die == .after { kill(getpid(), SIGKILL) }
    let due = began + .nanoseconds(context.spent.dueNanoseconds)
    if due > NIODeadline.now() { await context.channel.eventLoop.wait(until: due) }
    return try response.get()
  }
}

extension Result where Failure == any Error {
  /// What an asynchronous piece of work gives, as a value.
  fileprivate init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}
