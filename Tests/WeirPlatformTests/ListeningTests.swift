// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestPrograms
import Testing
import WeirPlatform

/// Sockets that listen, and ports that are taken.
struct ListeningTests {
  @Test("listens on each kind of address", arguments: ["127.0.0.1", "localhost", "0.0.0.0", "*", "::1", "[::1]", "::"])
  func addresses(address: String) throws {
    let (sockets, port): ([Descriptor], UInt16)
    do {
      (sockets, port) = try Listening.tcp(address: address, port: 0)
    } catch ListenError.familyMissing, ListenError.notOurs {
      return  // A machine without IPv6 says so.
    }
    #expect(sockets.count == 1 && port != 0)
    #expect(Listening.port(of: sockets[0]) == port)
    let client = try Connecting.tcp(address: address.contains(":") ? "::1" : "127.0.0.1", port: port)
    let accepted = try Connecting.accept(from: sockets[0])
    #expect(try accepted.write(Array("x".utf8)) == 1)
    #expect(try client.read(upTo: 9) == Array("x".utf8))
  }

  @Test("'*' takes connections of both families")
  func both() throws {
    let (sockets, port) = try Listening.tcp(address: "*", port: 0)
    _ = try Connecting.tcp(address: "127.0.0.1", port: port)
    if (try? Listening.tcp(address: "::1", port: 0)) != nil { _ = try Connecting.tcp(address: "::1", port: port) }
    withExtendedLifetime(sockets) {}
  }

  @Test("a group shares one port; every socket of it is given connections")
  func group() throws {
    let (sockets, port) = try Listening.tcp(address: "127.0.0.1", port: 0, count: 4)
    #expect(sockets.count == 4)
    #expect(Set(sockets.map { Listening.port(of: $0) }) == [port])
    for socket in sockets { try socket.setNonblocking() }
    var used = Set<Int>()
    var clients: [Descriptor] = []
    // The kernel spreads by a hash of the client's port: 1 000 tries that all miss one of four cannot be chance.
    for _ in 0..<1000 where used.count < 4 {
      clients.append(try Connecting.tcp(address: "127.0.0.1", port: port))
      for (index, socket) in sockets.enumerated() where (try? Connecting.accept(from: socket)) != nil {
        used.insert(index)
      }
    }
    #expect(used.count == 4)
  }

  @Test("a port that anyone listens on is taken, whether or not they share it", arguments: [1, 2], [1, 2])
  func taken(theirs: Int, ours: Int) throws {
    let (sockets, port) = try Listening.tcp(address: "127.0.0.1", port: 0, count: theirs)
    let holder = try #require(ProcessTable.entry(of: Children.ownPid))
    for address in ["127.0.0.1", "*", "0.0.0.0"] {
      #expect(
        throws: ListenError.taken(address: address, port: port, by: .init(name: holder.name, pid: holder.pid))
      ) { try Listening.tcp(address: address, port: port, count: ours) }
    }
    #expect(!ProgramPorts.isFree(port))
    withExtendedLifetime(sockets) {}
  }

  @Test("a port is free again at once, connections in TIME_WAIT or not")
  func freeAgain() throws {
    var (sockets, port) = try Listening.tcp(address: "127.0.0.1", port: 0)
    do {
      let client = try Connecting.tcp(address: "127.0.0.1", port: port)
      // The side that closes first is left in TIME_WAIT: ours.
      _ = try Connecting.accept(from: sockets[0])
      #expect(try client.read(upTo: 1).isEmpty)
    }
    sockets = []
    (sockets, _) = try Listening.tcp(address: "127.0.0.1", port: port, count: 2)
    #expect(sockets.count == 2)
  }

  @Test("bad addresses are told in words")
  func bad() {
    #expect(throws: ListenError.badAddress("example.com")) { try Listening.tcp(address: "example.com", port: 1) }
    #expect(throws: ListenError.notOurs(address: "192.0.2.1")) { try Listening.tcp(address: "192.0.2.1", port: 0) }
    #expect(
      "\(ListenError.taken(address: "*", port: 80, by: .init(name: "nginx", pid: 12)))"
        == "port 80 on * is taken by nginx (process 12)")
    #expect("\(ListenError.forbidden(address: "*", port: 80))".contains("ports below 1024 need root"))
  }

  @Test("a UNIX socket is private, replaces a dead one, and leaves a live one and other files alone")
  func unix() throws {
    let scratch = try Scratch()
    let path = scratch.path + "/admin.sock"
    var socket: Descriptor? = try Listening.unix(path: path)
    let facts = try FileManager.default.attributesOfItem(atPath: path)
    #expect((facts[.posixPermissions] as? NSNumber)?.intValue == 0o600)
    #expect(throws: ListenError.takenPath(path)) { try Listening.unix(path: path) }
    _ = try Connecting.unix(path: path)
    socket = nil
    #expect(Files.exists(path), "as after a crash")
    Listeners.waitUntilNone(at: path)
    socket = try Listening.unix(path: path)
    _ = try Connecting.unix(path: path)
    withExtendedLifetime(socket) {}

    try Files.replace(scratch.path + "/file", with: Array("precious".utf8))
    #expect(throws: ListenError.notASocket(scratch.path + "/file")) { try Listening.unix(path: scratch.path + "/file") }
    #expect(try Files.text(scratch.path + "/file") == "precious")
    let long = scratch.path + "/" + String(repeating: "x", count: 108)
    #expect(throws: ListenError.pathTooLong(long, limit: 107)) { try Listening.unix(path: long) }
  }

  @Test("ports for programs are free, different, and outside what the kernel gives to connections")
  func ports() throws {
    var ports = ProgramPorts(salt: "/somewhere")
    let (sockets, taken) = try Listening.tcp(address: "127.0.0.1", port: 0)
    withExtendedLifetime(sockets) {}
    var given: Set<UInt16> = []
    for _ in 0..<50 {
      let port = try ports.take()
      #expect(ProgramPorts.defaultRange.contains(port) && port != taken)
      #expect(given.insert(port).inserted)
    }
    #expect(ProgramPorts(salt: "a").first != ProgramPorts(salt: "b").first)
  }

  @Test("a range is used up to its last port, around its end, and then says so")
  func exhausted() throws {
    // Three ports that were free a moment ago.
    var search = ProgramPorts(salt: "exhausted", range: 20_500...29_000)
    let first = try search.take()
    var ports = ProgramPorts(salt: "", range: first...first)
    #expect(try ports.take() == first)
    #expect(throws: ListenError.noFreePort(first...first)) { try ports.take() }
    ports.giveBack(first)
    #expect(try ports.take() == first)
    ports.giveBack(first)
    ports.keep(first)
    #expect(throws: ListenError.self) { try ports.take() }
    ports.giveBack(first)
    let socket = try Listening.tcp(address: "127.0.0.1", port: first)
    #expect(throws: ListenError.self) { try ports.take() }
    withExtendedLifetime(socket) {}
  }
}
