// SPDX-License-Identifier: Apache-2.0

/// Asks a service who the caller is: by the request's method and target and by some of its fields.
///
/// 2xx knows the caller, 401 does not, 403 knows it and says no; everything else, and silence, is no answer.
package struct ForwardAuth: Sendable {
  package struct Field: Sendable, Equatable {
    package var name: String
    package var value: String

    package init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  package struct Question: Sendable, Equatable {
    package var method: String
    package var target: String
    package var host: String
    package var client: String
    package var fields: [Field]

    package init(method: String, target: String, host: String, client: String, fields: [Field]) {
      self.method = method
      self.target = target
      self.host = host
      self.client = client
      self.fields = fields
    }
  }

  package struct Reply: Sendable, Equatable {
    package var status: Int
    package var fields: [Field]

    package init(status: Int, fields: [Field]) {
      self.status = status
      self.fields = fields
    }
  }

  /// Fields of the request that are shown to the service, in lower case.
  package var shows: [String]
  /// Fields of its answer that go on to the callee, in lower case.
  package var copies: [String]
  /// The field of its answer that says who the caller is.
  package var subject: String?
  /// The field of its answer that lists roles.
  package var roles: String?
  package var ask: @Sendable (Question) async throws -> Reply

  package init(
    shows: [String], copies: [String], subject: String?, roles: String?,
    ask: @escaping @Sendable (Question) async throws -> Reply
  ) {
    self.shows = shows
    self.copies = copies
    self.subject = subject
    self.roles = roles
    self.ask = ask
  }

  enum Outcome: Sendable { case known(Claims, [Field]), refused, notAllowed, unavailable }

  func check(_ question: Question) async -> Outcome {
    guard let reply = try? await ask(question) else { return .unavailable }
    switch reply.status {
    case 200..<300:
      func values(_ name: String?) -> [String] {
        guard let name else { return [] }
        return reply.fields.filter { $0.name.lowercased() == name }.map(\.value)
      }
      var claims = Claims(subject: values(subject).first ?? question.client)
      claims.roles = values(roles).flatMap {
        $0.split(separator: ",").map { String($0.trimmingPrefix { $0 == " " }) }
      }
      return .known(claims, reply.fields.filter { copies.contains($0.name.lowercased()) })
    case 401: return .refused
    case 403: return .notAllowed
    default: return .unavailable
    }
  }
}
