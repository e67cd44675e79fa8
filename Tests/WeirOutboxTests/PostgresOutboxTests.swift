// SPDX-License-Identifier: Apache-2.0
import TestPrograms
import Testing
import WeirOutbox
import WeirPlatform

/// A server that takes a connection, and then says nothing any more, or too much.
@Suite struct PostgresOutboxTests {
  /// Speaks as much of PostgreSQL's protocol as a client waits for: asked for encryption it says no, then it lets anybody in.
  private static let server = """
    import socket, struct, sys, threading
    def exactly(one, count):
        data = b""
        while len(data) < count:
            more = one.recv(count - len(data))
            if not more: raise EOFError
            data += more
        return data
    def serve(one):
        try:
            while True:
                length, code = struct.unpack("!II", exactly(one, 8))
                exactly(one, length - 8)
                if code not in (80877103, 80877104): break
                one.sendall(b"N")
            if sys.argv[1] == "speaks":
                fields = b"SFATAL\\0VFATAL\\0C28P01\\0Mthe password hunter2 is not that of shop\\0\\0"
                one.sendall(b"E" + struct.pack("!I", len(fields) + 4) + fields)
                return one.close()
            one.sendall(b"R" + struct.pack("!II", 8, 0) + b"Z" + struct.pack("!I", 5) + b"I")
            while one.recv(65536): pass
        except (EOFError, OSError): pass
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    """

  private func problem(_ kind: String, _ target: (Int) -> String) throws -> String {
    let program = try TestProgram("python3", ["-c", Self.server, kind])
    let port = try #require(program.line().flatMap { Int($0) }, "\(program.err)")
    let outbox = PostgresOutbox(
      target: target(port), database: "the database of shop", table: OutboxTable(name: "weir_outbox"),
      patience: 200_000_000)
    do {
      _ = try outbox.count()
      return "no problem"
    } catch { return "\(error)" }
  }

  @Test("a server that does not answer is given up")
  func silent() throws {
    let said = try problem("silent") { "host=127.0.0.1 port=\($0) user=shop password=hunter2 dbname=shop" }
    #expect(said == "the database of shop does not answer")
  }

  @Test("what the library says is told without the password, and nothing of a text that is no connection")
  func secrets() throws {
    let said = try problem("speaks") { "postgres://shop:hunter2@127.0.0.1:\($0)/shop" }
    #expect(said.contains("cannot be reached") && said.contains("the password … is not that of shop"), "\(said)")
    for target in [
      "postgres://shop:hunter2@127.0.0.1:1/shop?passwrd=hunter2", "hunter2", "host=127.0.0.1 password='hunter2",
      "postgres://shop:hunter2@[::1/shop",
    ] {
      let said = try problem("silent") { _ in target }
      #expect(said == "the connection of the database of shop is no connection string and no URL of libpq")
    }
  }
}
