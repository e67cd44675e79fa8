// SPDX-License-Identifier: Apache-2.0
import WeirModel
import WeirPlatform
import WeirProcesses

/// What each program of a plan is started with: words, environment, folder, port.
struct Programs {
  private let plan: Plan
  private let folder: String
  private let callsPort: Int
  private(set) var sockets: ProgramSockets
  private var ports: ProgramPorts
  private var given: [String: UInt16] = [:]

  init(plan: Plan, state: String, callsPort: Int) {
    self.plan = plan
    folder = Files.parent(of: plan.design.file)
    self.callsPort = callsPort
    ports = ProgramPorts(salt: state)
    sockets = ProgramSockets(state: state)
  }

  /// Where an instance may listen beside its port; nil where the path would be too long.
  func socket(of reference: Supervisor.Reference) -> String? {
    sockets.path(service: plan.services[reference.service].name, instance: reference.instance)
  }

  /// What the program before it left there; the next one could not bind.
  ///
  /// Not in ``spec(_:freshPort:)``, which a reload also asks for programs that run.
  func makeWay(for reference: Supervisor.Reference) {
    if let socket = socket(of: reference) { sockets.clean(socket) }
  }

  /// The same ports under a changed plan.
  func moved(to plan: Plan) -> Programs {
    var new = Programs(plan: plan, state: "", callsPort: callsPort)
    new.ports = ports
    new.given = given
    new.sockets = sockets
    return new
  }

  /// An instance is gone for good: its port is free.
  mutating func forget(_ id: String) { if let port = given.removeValue(forKey: id) { ports.giveBack(port) } }

  /// The port that an instance has been told to listen on.
  func port(of id: String) -> UInt16? { given[id] }

  /// An adopted program keeps its port.
  mutating func adopt(_ id: String, port: UInt16) {
    ports.keep(port)
    given[id] = port
  }

  /// How an instance is started; its port stays the same over restarts unless `freshPort` asks for another.
  mutating func spec(_ reference: Supervisor.Reference, freshPort: Bool) throws(PlaneError) -> ProgramSpec {
    let service = plan.services[reference.service]
    guard case .program(let program) = plan.design.services[reference.service].kind else {
      throw PlaneError("'\(service.name)' is not started by weir")
    }
    let id = "\(service.name)-\(reference.instance)"
    if freshPort, let old = given.removeValue(forKey: id) { ports.giveBack(old) }
    let port: UInt16
    if let kept = given[id] {
      port = kept
    } else {
      do { port = try ports.take() } catch { throw PlaneError("\(error)") }
      given[id] = port
    }
    let socket = socket(of: reference) ?? ""
    let environment = try environment(
      reference.service, program, instance: reference.instance, port: port, socket: socket)
    let command = try References.resolve(program.command.value, folder: folder)
    let argv: [String]
    do {
      argv = try CommandLineWords.split(command) { name in environment.first { $0.name == name }?.value }
    } catch {
      throw PlaneError("the command of '\(service.name)' cannot be read: \(error)")
    }
    return ProgramSpec(
      name: service.name, instance: reference.instance, argv: argv, environment: environment,
      directory: Files.resolve(program.directory.value, in: folder), port: port)
  }

  /// Only what a program needs to run at all from our own environment, and what the file gives it.
  private func environment(
    _ index: Int, _ program: Program, instance: Int, port: UInt16, socket: String
  ) throws(PlaneError) -> [ProgramSpec.Variable] {
    var variables: [ProgramSpec.Variable] = []
    for name in ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"] {
      if let value = OwnEnvironment.value(name) { variables.append(.init(name, value)) }
    }
    variables.append(.init("PORT", "\(port)"))
    variables.append(.init("WEIR_SOCKET", socket))
    variables.append(.init("INSTANCE", "\(instance)"))
    var failure: PlaneError?
    let given = plan.environment(
      of: index, weirURL: "http://127.0.0.1:\(callsPort)/from/\(plan.services[index].name)", folder: folder
    ) { text in
      do { return try References.resolve(text, folder: folder) } catch {
        failure = error as? PlaneError
        return ""
      }
    }
    if let failure { throw failure }
    for (name, value) in given { set(name, value) }
    for variable in program.environment {
      set(variable.name, try References.resolve(variable.value.value, folder: folder))
    }
    return variables

    func set(_ name: String, _ value: String) {
      variables.removeAll { $0.name == name }
      variables.append(.init(name, value))
    }
  }

  /// The folder of the programs' sockets; files that an earlier run left are no harm.
  func makeSocketFolder() throws(PlaneError) {
    do { try Files.makeFolder(sockets.folder) } catch {
      throw PlaneError("the folder of sockets cannot be made: \(error.reason) (\(sockets.folder))")
    }
  }

  /// Folders of embedded stores, which nobody else makes.
  func makeStoreFolders() throws(PlaneError) {
    for store in plan.design.stores {
      guard let path = store.path?.value else { continue }
      let parent = Files.parent(of: Files.resolve(path, in: folder))
      do { try Files.makeFolder(parent) } catch {
        throw PlaneError("the folder of store '\(store.name.text)' cannot be made: \(error.reason) (\(parent))")
      }
    }
  }
}
