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
  /// A counter with a limit; a class, because atomics have one place in memory.
  private final class Cell: Sendable {
    let count = Atomic<Int32>(0)
    let limit: Int32
    init(limit: Int32) { self.limit = limit }

    func acquire() -> Bool {
      if count.add(1, ordering: .acquiringAndReleasing).newValue <= limit { return true }
      count.subtract(1, ordering: .acquiringAndReleasing)
      return false
    }
    func release() { count.subtract(1, ordering: .acquiringAndReleasing) }
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
    instances[service].isEmpty ? 0 : Int(instances[service][instance].count.load(ordering: .relaxed))
  }

  static func bit(_ loop: Int) -> UInt64 { 1 << UInt64(loop & 63) }

  private static func takeWanted(_ wanted: Wanted) -> UInt64 {
    if wanted.loops.load(ordering: .acquiring) == 0 { return 0 }
    return wanted.loops.exchange(0, ordering: .acquiringAndReleasing)
  }
}
