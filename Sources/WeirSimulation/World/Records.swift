// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// The kinds of events; raw values only keep them apart.
enum EventKind {
  static let arrival: UInt8 = 0
  static let workDone: UInt8 = 1
  static let deliver: UInt8 = 2
  static let answer: UInt8 = 3
  static let refused: UInt8 = 4
  static let timer: UInt8 = 5
  static let merge: UInt8 = 6
  static let faultBegins: UInt8 = 7
  static let faultEnds: UInt8 = 8
  static let start: UInt8 = 9
  static let health: UInt8 = 10
  static let patience: UInt8 = 11
  static let open: UInt8 = 12
  static let queue: UInt8 = 13
  static let job: UInt8 = 14
  static let late: UInt8 = 15
  static let saga: UInt8 = 16
  static let sagaAgain: UInt8 = 17
}

/// A place and its tenant, of at most 2⁴⁰ generations and 2²⁴ places: what fits into an event.
struct Handle: Sendable, Equatable, BitwiseCopyable {
  var raw: UInt64

  static var none: Handle { Handle(raw: .max) }

  @inline(__always)
  init(raw: UInt64) { self.raw = raw }

  @inline(__always)
  init(index: Int, generation: UInt64) { raw = generation << 24 | UInt64(index) }

  @inline(__always)
  var index: Int { Int(raw & 0xff_ffff) }
  @inline(__always)
  var generation: UInt64 { raw >> 24 }
}

/// One attempt at an instance: waiting there, worked on, or calling others.
struct Job: Sendable, BitwiseCopyable {
  enum Stage: UInt8 { case free, onTheWay, queued, working, calling, answering }

  var generation: UInt64 = 0
  /// The key of the call that it serves.
  var key: UInt64 = 0
  /// Whose request it is about.
  var client: UInt64 = 0
  /// The call that waits for it, on `loop`; `Slot.none` when nobody does any more.
  var call = Slot.none
  /// While queued: since when.
  var since: Int64 = 0
  /// When its caller stops waiting, as it was told.
  var deadline: Int64 = .max
  /// Instance in the world's flat array.
  var instance: Int32 = 0
  /// Of the instance's process when it was sent.
  var epoch: UInt32 = 0
  /// In the world's flat array.
  var operation: Int32 = 0
  /// The stage of calls that it is at; the next free place while it is free.
  var next: Int32 = -1
  var stageIndex: Int32 = 0
  /// Calls that it waits for.
  var pending: Int32 = 0
  var status: UInt16 = 200
  var loop: UInt8 = 0
  var stage = Stage.free
  var attempt: UInt8 = 0
  var method = RetryRule.Method.safe
  var failed = false
  /// What it is answered with after its work, whatever that was; 0: what comes of it.
  var poison: UInt16 = 0
  /// It is a connection: taken at once, worked on until it is over.
  var lasts = false
  /// The message that it is about, or the first of them, in which queue; −1: none.
  var queue: Int32 = -1
  var lease: UInt16 = 0
  var message: Int64 = 0
}

/// What the driver knows of a call, at the index of its slot.
struct CallContext: Sendable, BitwiseCopyable {
  /// The call that has this place now, or had it last.
  var slot = Slot.none
  /// The gateway's request that it is made for, if it is.
  var request = Slot.none
  /// The job that makes it, if one does.
  var parent = Handle.none
  /// The job of its attempt under way.
  var job = Handle.none
  /// The job of the attempt beside it.
  var hedge = Handle.none
  var key: UInt64 = 0
  /// While it waits for a place: since when; −1 else.
  var queuedSince: Int64 = -1
  /// When its one timer rings, `Int64.max` without one; belongs to the place, whoever the tenant is.
  var timerAt: Int64 = .max
  /// The operation that is called, in the world's flat array.
  var operation: Int32 = 0
  var edge: Int32 = 0
  /// Whose request it is about.
  var client: UInt64 = 0
  var method = RetryRule.Method.safe
  /// A failure of it is no failure of its caller.
  var optional = false
  /// One of several that make the answer of its request.
  var isPart = false
  /// The message that it delivers, or the first of them; the queue and the lease of it; −1: none.
  var message: Int64 = 0
  var queue: Int32 = -1
  var lease: UInt16 = 0
  /// The saga that makes it; −1: none.
  var saga: Int32 = -1
  var sagaAttempt: UInt16 = 0
  /// When its step's call was made for the first time.
  var sagaSince: Int64 = 0
  /// How often an instance was tried.
  var tries: UInt8 = 0
  var poison: UInt16 = 0
  /// It is a connection, which holds its place until it is over.
  var lasts = false
  var tellsCallee = true
}

/// What the driver knows of a gateway's request, at the index of its slot.
struct RequestContext: Sendable, BitwiseCopyable {
  var call = Slot.none
  var key: UInt64 = 0
  var traffic: Int32 = 0
  var startedAt = Instant.zero
  /// Calls of a composed answer that are under way.
  var parts: Int32 = 0
}

/// One instance of a component.
struct InstanceState: Sendable, BitwiseCopyable {
  var component: Int32
  /// Within its component.
  var index: UInt16
  var isUp = true
  /// Held away by a fault: it is not started again before.
  var isHeld = false
  /// Counts the processes that have served under this index.
  var epoch: UInt32 = 0
  var workers: Int32
  var busy: Int32 = 0
  /// Places that Weir has given out.
  var held: Int32 = 0
  /// Requests that have reached it.
  var served: UInt64 = 0
  /// Who waits within the instance: a list through `Job.next`.
  var oldest: Int32 = -1
  var newest: Int32 = -1
  /// ∫ busy dt and since when it counts.
  var busyArea: Int64 = 0
  var busySince: Int64 = 0
  var queue = QueueGauge()

  @inline(__always)
  mutating func setBusy(_ change: Int32, now: Int64) {
    busyArea &+= Int64(busy) &* (now &- busySince)
    busySince = now
    busy &+= change
  }
}

/// What a component does for a request of one kind, resolved.
struct Operation: Sendable {
  var work: WorkModel
  var firstStage: Int32
  var stages: Int32
  /// What it leaves behind: in `World.sends`.
  var firstSend: Int32
  var sends: Int32
  var method: RetryRule.Method
  var hasMethod: Bool
}

/// A component, resolved.
struct Component: Sendable {
  var salt: UInt64
  var firstInstance: Int
  var instances: Int
  var firstOperation: Int32
  /// Places of an instance, by the plan.
  var places: Int32
  /// Weir hands out places: there is a limit.
  var isLimited: Bool
  /// A gate decides, too, who goes on.
  var isGated: Bool
  /// Places out, over all instances, and how many there are.
  var held: Int64 = 0
  var allPlaces: Int64
  var cancels: Bool
  /// Bits of the faults in force that change what requests find here.
  var faults = 0
  /// Which edges lead here, one after the other in `World.callers`.
  var firstCaller: Int
  var callers: Int
  /// Who is asked first when a place is free: moves on, so that no caller is served before the others for ever.
  var turn = 0
  /// Some caller may be waiting for a place here.
  var turnIsDue = false
}

/// A stream of requests, resolved.
struct Stream: Sendable {
  var random: SeededRandom
  var salt: UInt64
  var clientSalt: UInt64
  /// Nanoseconds between two requests in the mean, unless a story has more or fewer of them for a time.
  var usualGap: Double
  /// As it is now.
  var meanGap: Double
  /// How often the rate has changed: a request drawn before that does not come.
  var draws: UInt32 = 0
  var sent: UInt64 = 0
  var route: UInt32
  /// Of the first callee, where the route shares its requests out.
  var operation: Int32
  /// Of the route's mirror.
  var mirrorOperation: Int32 = 0
  var isSplit = false
  /// The split goes by a key of the client's.
  var isKeyed = false
  /// What comes are connections.
  var connects = false
  /// Its requests carry an idempotency key, which the gateway looks up.
  var asksRecord = false
  var clients: UInt64
  var method: RetryRule.Method
  var patience: Int64
}

/// An event loop of the gateway: its flows, and what the driver knows of each call and request at the same index.
struct Loop: ~Copyable {
  var flows: LoopFlows
  var calls = Bank<CallContext>()
  var requests = Bank<RequestContext>()
  /// By edge: the version of the node's view that this loop has.
  var versions: [UInt32]
  /// By edge: who waits for a place.
  var gauges: Bank<QueueGauge>
  /// By edge: how long calls waited that had to, and how many of them got a place.
  var waits: [Tally]
}
