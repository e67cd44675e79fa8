// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirPlatform
import WeirProcesses
package import WeirTelemetry

/// Asks a running plane through its admin socket.
package struct StatusClient: Sendable {
  package enum Failure: Error, CustomStringConvertible {
    case notRunning(system: String, folder: String)
    case noAnswer(String)
    case noQueue(String)
    /// It cannot be done; a sentence.
    case refused(String)

    package var description: String {
      switch self {
      case .notRunning(let system, let folder):
        "'\(system)' is not running (nothing answers at \(folder)/admin.sock); start it with: weir run"
      case .noQueue(let name):
        "there is no queue '\(name)' (weir queue list tells which there are), or its state process does not answer"
      case .refused(let why): why
      case .noAnswer(let why): "the running system gave no answer that can be read: \(why)"
      }
    }
  }

  private let system: String
  private let folder: String

  package init(system: String, statePath: String) {
    self.system = system
    folder = statePath
  }

  package func status() throws -> Status {
    let text = try json()
    do { return try JSONDecoder().decode(Status.self, from: Data(text.utf8)) } catch {
      throw Failure.noAnswer("\(error)")
    }
  }

  /// The JSON as the plane sent it.
  package func json() throws -> String { try ask("GET /status").body }

  /// Has the running system read its file again, and waits for what came of it.
  package func reload() throws -> ReloadOutcome {
    let text = try ask("POST /reload", fields: "Content-Length: 0\r\n", also: "HTTP/1.1 422").body
    do { return try JSONDecoder().decode(ReloadOutcome.self, from: Data(text.utf8)) } catch {
      throw Failure.noAnswer("\(error)")
    }
  }

  /// Takes an instance of the running system out of use, or back.
  package func drain(service: String, instance: Int, _ isOn: Bool) throws -> DrainOutcome {
    // A name of a service needs no escaping; what is none finds nothing.
    let name = service.filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
    let text = try ask(
      "POST /instances/\(name)/\(instance)/\(isOn ? "drain" : "undrain")", fields: "Content-Length: 0\r\n",
      also: "HTTP/1.1 422"
    ).body
    do { return try JSONDecoder().decode(DrainOutcome.self, from: Data(text.utf8)) } catch {
      throw Failure.noAnswer("\(error)")
    }
  }

  /// Has another binary take over, and waits until it serves.
  package func upgrade(to binary: String) throws -> UpgradeOutcome {
    let body = String(decoding: try JSONEncoder().encode(UpgradeOrder(binary: binary)), as: UTF8.self)
    let text = try ask(
      "POST /upgrade", fields: "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n",
      body: body, also: "HTTP/1.1 422"
    ).body
    do { return try JSONDecoder().decode(UpgradeOutcome.self, from: Data(text.utf8)) } catch {
      throw Failure.noAnswer("\(error)")
    }
  }

  /// The queues, as the state process counts them.
  package func queues() throws -> [Status.Queue] { try decoded(ask("GET /queues").body) }

  /// A page of a queue's messages in one state.
  package func messages(of queue: String, _ state: String, after: Int64, limit: Int) throws -> Status.Messages {
    let answer = try ask(
      "GET /queues/\(escaped(queue))/messages?state=\(state)&after=\(after)&limit=\(limit)", also: "HTTP/1.1 404")
    if answer.head.hasPrefix("HTTP/1.1 404") { throw Failure.noQueue(queue) }
    return try decoded(answer.body)
  }

  /// One message, whole; nil when the queue has none with this id.
  package func message(_ id: String, of queue: String) throws -> Status.Message? {
    let answer = try ask("GET /queues/\(escaped(queue))/messages/\(escaped(id))", also: "HTTP/1.1 404")
    return answer.head.hasPrefix("HTTP/1.1 404") ? nil : try decoded(answer.body)
  }

  package func order(_ word: Status.QueueOrder.Word, queue: String, _ order: Status.QueueOrder) throws
    -> Status.QueueOutcome
  {
    let body = String(decoding: try JSONEncoder().encode(order), as: UTF8.self)
    return try decoded(
      ask(
        "POST /queues/\(escaped(queue))/\(word.rawValue)",
        fields: "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n", body: body,
        also: "HTTP/1.1 422"
      ).body)
  }

  /// The topics or the streams, as the state process counts them.
  package func logs(_ kind: Status.Log.Kind) throws -> [Status.Log] { try decoded(ask("GET /\(kind.rawValue)s").body) }

  /// What stands in a topic or stream.
  package func events(of kind: Status.Log.Kind, _ name: String, _ query: Status.LogQuery) throws -> Status.LogEvents {
    var path = "/\(kind.rawValue)s/\(escaped(name))/events?limit=\(query.limit)"
    if let key = query.key { path += "&key=\(escaped(key))" }
    if let after = query.after { path += "&after=\(after)" }
    if let from = query.from { path += "&from=\(escaped(from))" }
    let answer = try ask("GET \(path)", also: "HTTP/1.1 422")
    if answer.head.hasPrefix("HTTP/1.1 422") {
      let outcome: Status.QueueOutcome = try decoded(answer.body)
      throw Failure.refused(outcome.text)
    }
    return try decoded(answer.body)
  }

  /// Has a group get events again, and waits until they are in its queue.
  package func replay(
    _ kind: Status.Log.Kind, _ name: String, _ group: String, _ order: Status.ReplayOrder
  ) throws -> Status.QueueOutcome {
    let body = String(decoding: try JSONEncoder().encode(order), as: UTF8.self)
    return try decoded(
      ask(
        "POST /\(kind.rawValue)s/\(escaped(name))/groups/\(escaped(group))/replay",
        fields: "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n", body: body,
        also: "HTTP/1.1 422"
      ).body)
  }

  /// The sagas of the file.
  package func sagas() throws -> [Status.Saga] { try decoded(ask("GET /sagas").body) }

  /// A page of a saga's instances; nil when there is none of this name.
  package func instances(of saga: String, _ state: String, after: Int64, limit: Int) throws -> Status.SagaInstances? {
    let answer = try ask(
      "GET /sagas/\(escaped(saga))/instances?state=\(state)&after=\(after)&limit=\(limit)", also: "HTTP/1.1 404")
    return answer.head.hasPrefix("HTTP/1.1 404") ? nil : try decoded(answer.body)
  }

  /// One instance, whole; nil when the saga has none with this id.
  package func instance(_ id: String, of saga: String) throws -> Status.SagaInstance? {
    let answer = try ask("GET /sagas/\(escaped(saga))/instances/\(escaped(id))", also: "HTTP/1.1 404")
    return answer.head.hasPrefix("HTTP/1.1 404") ? nil : try decoded(answer.body)
  }

  package func order(
    _ word: Status.SagaOrder.Word, saga: String, id: String, _ order: Status.SagaOrder
  ) throws -> Status.QueueOutcome {
    let body = String(decoding: try JSONEncoder().encode(order), as: UTF8.self)
    return try decoded(
      ask(
        "POST /sagas/\(escaped(saga))/instances/\(escaped(id))/\(word.rawValue)",
        fields: "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n", body: body,
        also: "HTTP/1.1 422"
      ).body)
  }

  func escaped(_ text: String) -> String {
    let plain = CharacterSet(charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
    return text.addingPercentEncoding(withAllowedCharacters: plain) ?? ""
  }

  func decoded<Answer: Decodable>(_ text: String) throws -> Answer {
    do { return try JSONDecoder().decode(Answer.self, from: Data(text.utf8)) } catch {
      throw Failure.noAnswer("\(error)")
    }
  }

  /// Until the status is that of this plane; at most some seconds, for it is only asked later.
  package func waitForPlane(_ pid: Int32) {
    // 250 times 20 ms; nothing tells of it.
    for _ in 0..<250 {
      if (try? status())?.plane?.pid == pid { return }
      SystemThread.pause(nanoseconds: 20_000_000)
    }
  }

  func ask(_ line: String, fields: String = "", body: String = "", also: String? = nil) throws -> (
    head: String, body: String
  ) {
    let connection: Descriptor
    do { connection = try Connecting.unix(path: folder + "/admin.sock") } catch {
      throw Failure.notRunning(system: system, folder: folder)
    }
    var answer: [UInt8] = []
    do {
      _ = try connection.write(
        Array("\(line) HTTP/1.1\r\nHost: admin\r\n\(fields)Connection: close\r\n\r\n\(body)".utf8))
      while true {
        let bytes = try connection.read(upTo: 65536)
        if bytes.isEmpty { break }
        answer += bytes
      }
    } catch {
      throw Failure.noAnswer("\(error)")
    }
    let text = String(decoding: answer, as: UTF8.self)
    if text.hasPrefix("HTTP/1.1 503"), also != "HTTP/1.1 ", !line.hasPrefix("GET /status") {
      throw Failure.refused("the state process does not answer; see logs/weir.state.log in the state folder")
    }
    guard text.hasPrefix("HTTP/1.1 200") || also.map({ text.hasPrefix($0) }) == true,
      let body = text.range(of: "\r\n\r\n")
    else { throw Failure.noAnswer(String(text.prefix(60))) }
    return (String(text[..<body.lowerBound]), String(text[body.upperBound...]))
  }
}
