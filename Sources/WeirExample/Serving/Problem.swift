// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import NIOCore

/// An answer that says what is wrong (RFC 9457, `application/problem+json`); thrown by handlers.
struct Problem: Error {
  var status: HTTPResponse.Status
  var detail: String
  var fields: HTTPFields = [:]

  init(_ status: HTTPResponse.Status, _ detail: String, fields: HTTPFields = [:]) {
    self.status = status
    self.detail = detail
    self.fields = fields
  }

  /// What any error is to the caller: what is not known is our fault, and its text is not shown to strangers.
  init(of error: any Error) {
    switch error {
    case let problem as Problem: self = problem
    case let error as any HTTPResponseError:
      self.init(error.status, error.status == .notFound ? "there is nothing at this path" : error.status.reasonPhrase)
    default: self.init(.internalServerError, "the program failed to answer; its log says why")
    }
  }

  var response: Response {
    var headers = fields
    headers[.contentType] = "application/problem+json"
    headers[.cacheControl] = "no-store"
    let body =
      "{\"type\":\"about:blank\",\"title\":\(LogLine.quoted(status.reasonPhrase)),"
      + "\"status\":\(status.code),\"detail\":\(LogLine.quoted(detail))}"
    return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: body)))
  }
}
