// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirFlows

/// Places on instances and on edges, counted over all loops: what `at-once` means on this node.
///
/// Where there is no limit there is no cell and no atomic operation. A loop that was told `full` marks itself as wanting
/// the callee, and whoever gives a place back pokes the loops that want it; the mark is set before a last try, so no
/// place is given back unseen.
///
/// Thread-safe: atomics only.
final class Places: Sendable {
  /// What is taken; a class, because atomics have one place in memory, and because two plans share it.
  private final class Counter: Sendable {
    let count = Atomic<Int32>(0)
  }

  /// A counter with this plan's limit.
  private struct Cell: Sendable {
    let counter: Counter
    let limit: Int32

    init(limit: Int32, counter: Counter = Counter()) {
      self.limit = limit
      self.counter = counter
    }

    func acquire() -> Bool {
      if counter.count.add(1, ordering: .acquiringAndReleasing).newValue <= limit { return true }
      counter.count.subtract(1, ordering: .acquiringAndReleasing)
      return false
    }
    func release() { counter.count.subtract(1, ordering: .acquiringAndReleasing) }
  }

  private final class Wanted: Sendable {
    /// One bit a loop; more than 64 loops share bits, which only means a poke too many.
    let loops = Atomic<UInt64>(0)
  }

  /// By service: its instances' cells, empty without a limit.
  private let instances: [[Cell]]
  private let edges: [Cell?]
  private let wantedServices: [Wanted]
  private let wantedEdges: [Wanted]

  init(_ plan: FlowPlan) {
    instances = plan.services.map { service in
      service.atOnce == .max ? [] : (0..<service.instances).map { _ in Cell(limit: service.atOnce) }
    }
    edges = plan.edges.map { $0.call.atOnce == .max ? nil : Cell(limit: $0.call.atOnce) }
    wantedServices = plan.services.map { _ in Wanted() }
    wantedEdges = plan.edges.map { _ in Wanted() }
  }

  /// The places under the next plan: what is at an instance now still counts, whatever the limit is from now on.
  init(_ plan: FlowPlan, after old: Places, of before: FlowPlan, by move: PlanMove) {
    let servicesBack = PlanMove.back(move.services, count: plan.services.count)
    let edgesBack = PlanMove.back(move.edges, count: plan.edges.count)
    instances = plan.services.enumerated().map { s, service in
      if service.atOnce == .max { return [] }
      let was = servicesBack[s].map { old.instances[$0] } ?? []
      let back = servicesBack[s].map { PlanMove.back(move.instances[$0], count: service.instances) }
      return (0..<service.instances).map { i in
        guard !was.isEmpty, let k = back?[i] else { return Cell(limit: service.atOnce) }
        return Cell(limit: service.atOnce, counter: was[k].counter)
      }
    }
    edges = plan.edges.enumerated().map { e, edge in
      if edge.call.atOnce == .max { return nil }
      guard let was = edgesBack[e].flatMap({ old.edges[$0] }) else { return Cell(limit: edge.call.atOnce) }
      return Cell(limit: edge.call.atOnce, counter: was.counter)
    }
    wantedServices = servicesBack.map { $0.map { old.wantedServices[$0] } ?? Wanted() }
    wantedEdges = edgesBack.map { $0.map { old.wantedEdges[$0] } ?? Wanted() }
  }

  func acquire(service: Int, instance: UInt16, loop: Int) -> Bool {
    let cells = instances[service]
    if cells.isEmpty { return true }
    let cell = cells[Int(instance)]
    if cell.acquire() { return true }
    wantedServices[service].loops.bitwiseOr(Places.bit(loop), ordering: .acquiringAndReleasing)
    return cell.acquire()
  }

  /// Gives a place back; the answer is the loops that want one.
  func release(service: Int, instance: UInt16) -> UInt64 {
    let cells = instances[service]
    if cells.isEmpty { return 0 }
    cells[Int(instance)].release()
    return Places.takeWanted(wantedServices[service])
  }

  func acquire(edge: Int, loop: Int) -> Bool {
    guard let cell = edges[edge] else { return true }
    if cell.acquire() { return true }
    wantedEdges[edge].loops.bitwiseOr(Places.bit(loop), ordering: .acquiringAndReleasing)
    return cell.acquire()
  }

  func release(edge: Int) -> UInt64 {
    guard let cell = edges[edge] else { return 0 }
    cell.release()
    return Places.takeWanted(wantedEdges[edge])
  }

  /// Requests that are at an instance now, over all loops; 0 where nothing is counted.
  func taken(service: Int, instance: Int) -> Int {
    instances[service].isEmpty ? 0 : Int(instances[service][instance].counter.count.load(ordering: .relaxed))
  }

  static func bit(_ loop: Int) -> UInt64 { 1 << UInt64(loop & 63) }

  private static func takeWanted(_ wanted: Wanted) -> UInt64 {
    if wanted.loops.load(ordering: .acquiring) == 0 { return 0 }
    return wanted.loops.exchange(0, ordering: .acquiringAndReleasing)
  }
}
