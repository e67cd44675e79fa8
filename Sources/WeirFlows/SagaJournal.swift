// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// What a saga consists of: for each step whom it asks, and who undoes it.
///
/// It stands at the beginning of each saga's journal: one that is under way goes on by what it began with, whatever the file
/// has become.
public struct SagaScript: Sendable, Hashable {
  public struct Step: Sendable, Hashable {
    /// As the file writes it: `POST payments/charge`.
    public var act: String
    /// Nil: nothing undoes it.
    public var undo: String?

    public init(act: String, undo: String?) {
      self.act = act
      self.undo = undo
    }
  }

  /// The steps of an inner list go at the same time.
  public var lists: [[Step]]

  public init(_ lists: [[Step]]) { self.lists = lists }

  public var steps: [Step] { lists.flatMap { $0 } }

  public var plan: Saga.Plan { Saga.Plan(lists.map { $0.map { Saga.Step(hasUndo: $0.undo != nil) } }) }
}

/// What a participant has said.
public struct SagaAnswer: Sendable, Hashable {
  public static var textBytesMax: Int { 4 << 10 }

  public var at: WallTime
  /// 0: there was none.
  public var status: UInt16
  /// Its body, where that is short; without an answer, why there is none.
  public var text: [UInt8]

  public init(at: WallTime, status: UInt16, text: [UInt8]) {
    self.at = at
    self.status = status
    self.text = text.count <= SagaAnswer.textBytesMax ? text : []
  }
}

/// What a journal's commit is made of.
public enum SagaRecord: Sendable, Hashable {
  /// The first of all.
  case script(SagaScript)
  /// Of the step's call, or its undo's; what follows from it stands behind it.
  case answered(Int, isUndo: Bool, SagaAnswer)
  /// Another runner goes on; whoever went on before learns it at its next commit.
  case taken
  case entry(Saga.Entry)
}

/// A commit of a saga's journal as bytes.
///
///     version (1) · records: kind (1) · length (4) · content; highest byte first
///
/// Kinds and their contents are never changed and never used for something else: a journal is read by versions that are
/// years younger. What is new gets a kind of its own.
public enum SagaJournal {
  public static var version: UInt8 { 1 }

  public static func encode(_ records: [SagaRecord]) -> [UInt8] {
    var writer = Writer()
    writer.bytes.append(version)
    for record in records { writer.record(record) }
    return writer.bytes
  }

  /// Nil for what no version up to this one has written.
  public static func decode(_ bytes: [UInt8]) -> [SagaRecord]? {
    guard bytes.first == version else { return nil }
    var reader = Reader(bytes: bytes, at: 1, end: bytes.count)
    var records: [SagaRecord] = []
    while reader.at < bytes.count {
      reader.end = bytes.count
      guard let kind = reader.number(1), let length = reader.number(4), length <= UInt64(bytes.count - reader.at) else {
        return nil
      }
      reader.end = reader.at + Int(length)
      guard let record = reader.record(kind), reader.at == reader.end else { return nil }
      records.append(record)
    }
    return records
  }

  // MARK: - Writing

  private struct Writer {
    var bytes: [UInt8] = []

    mutating func number(_ value: UInt64, _ count: Int) {
      for i in (0..<count).reversed() { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * i))) }
    }

    mutating func run(_ run: [UInt8]) {
      number(UInt64(run.count), 4)
      bytes += run
    }

    mutating func time(_ time: WallTime) { number(UInt64(bitPattern: time.milliseconds), 8) }

    mutating func optional(_ time: WallTime?) {
      bytes.append(time == nil ? 0 : 1)
      if let time { self.time(time) }
    }

    mutating func step(_ step: Int) { number(UInt64(step), 1) }

    mutating func record(_ record: SagaRecord) {
      let start = bytes.count
      number(0, 5)
      let kind = content(record)
      let length = UInt64(bytes.count - start - 5)
      bytes[start] = kind
      for i in 0..<4 { bytes[start + 1 + i] = UInt8(truncatingIfNeeded: length >> UInt64(24 - 8 * i)) }
    }

    private mutating func content(_ record: SagaRecord) -> UInt8 {
      switch record {
      case .script(let script):
        number(UInt64(script.lists.count), 1)
        for list in script.lists {
          number(UInt64(list.count), 1)
          for step in list {
            run(Array(step.act.utf8))
            bytes.append(step.undo == nil ? 0 : 1)
            if let undo = step.undo { run(Array(undo.utf8)) }
          }
        }
        return 1
      case .answered(let step, let isUndo, let answer):
        self.step(step)
        bytes.append(isUndo ? 1 : 0)
        time(answer.at)
        number(UInt64(answer.status), 2)
        run(answer.text)
        return 2
      case .taken: return 3
      case .entry(let entry): return content(entry)
      }
    }

    private mutating func content(_ entry: Saga.Entry) -> UInt8 {
      switch entry {
      case .begun(let at):
        time(at)
        return 16
      case .calling(let step, let attempt):
        self.step(step)
        number(UInt64(attempt), 4)
        return 17
      case .done(let step):
        self.step(step)
        return 18
      case .failed(let step, let mayBeDone, let retryAt):
        self.step(step)
        bytes.append(mayBeDone ? 1 : 0)
        optional(retryAt)
        return 19
      case .turned(let cause):
        switch cause {
        case .step(let step):
          bytes.append(0)
          self.step(step)
        case .deadline: bytes.append(1)
        case .asked: bytes.append(2)
        }
        return 20
      case .undoing(let step, let attempt):
        self.step(step)
        number(UInt64(attempt), 4)
        return 21
      case .undone(let step):
        self.step(step)
        return 22
      case .undoFailed(let step, let retryAt):
        self.step(step)
        optional(retryAt)
        return 23
      case .resumed: return 24
      case .steered(let step, let verdict):
        self.step(step)
        // Written out: the journal's numbers are its own.
        switch verdict {
        case .tryAgain: bytes.append(0)
        case .isDone: bytes.append(1)
        case .isNotDone: bytes.append(2)
        }
        return 25
      case .finished: return 26
      case .compensated: return 27
      }
    }
  }

  // MARK: - Reading

  private struct Reader {
    let bytes: [UInt8]
    var at: Int
    /// Of the record that is read.
    var end: Int

    mutating func number(_ count: Int) -> UInt64? {
      guard count <= end - at else { return nil }
      var value: UInt64 = 0
      for i in at..<at + count { value = value << 8 | UInt64(bytes[i]) }
      at += count
      return value
    }

    mutating func flag() -> Bool? {
      guard let value = number(1), value < 2 else { return nil }
      return value == 1
    }

    mutating func step() -> Int? {
      guard let value = number(1), value < UInt64(Saga.Settings.stepsMax) else { return nil }
      return Int(value)
    }

    mutating func time() -> WallTime? { number(8).map { WallTime(milliseconds: Int64(bitPattern: $0)) } }

    /// Outer nil: unreadable.
    mutating func optionalTime() -> WallTime?? {
      guard let isThere = flag() else { return nil }
      if !isThere { return .some(nil) }
      guard let time = time() else { return nil }
      return .some(time)
    }

    mutating func run() -> [UInt8]? {
      guard let count = number(4), count <= UInt64(end - at) else { return nil }
      let run = Array(bytes[at..<at + Int(count)])
      at += Int(count)
      return run
    }

    mutating func text() -> String? { run().flatMap { String(validating: $0, as: UTF8.self) } }

    mutating func record(_ kind: UInt64) -> SagaRecord? {
      switch kind {
      case 1: return script().map { .script($0) }
      case 2:
        guard let step = step(), let isUndo = flag(), let at = time(), let status = number(2), let text = run() else {
          return nil
        }
        return .answered(step, isUndo: isUndo, SagaAnswer(at: at, status: UInt16(status), text: text))
      case 3: return .taken
      default: return entry(kind).map { .entry($0) }
      }
    }

    private mutating func script() -> SagaScript? {
      guard let count = number(1) else { return nil }
      var lists: [[SagaScript.Step]] = []
      var steps = 0
      for _ in 0..<count {
        guard let count = number(1) else { return nil }
        var list: [SagaScript.Step] = []
        for _ in 0..<count {
          guard let act = text(), let hasUndo = flag() else { return nil }
          var step = SagaScript.Step(act: act, undo: nil)
          if hasUndo {
            guard let undo = text() else { return nil }
            step.undo = undo
          }
          list.append(step)
        }
        steps += list.count
        lists.append(list)
      }
      return steps <= Saga.Settings.stepsMax ? SagaScript(lists) : nil
    }

    private mutating func entry(_ kind: UInt64) -> Saga.Entry? {
      switch kind {
      case 16: return time().map { .begun($0) }
      case 17, 21:
        guard let step = step(), let attempt = number(4) else { return nil }
        return kind == 17 ? .calling(step, attempt: Int(attempt)) : .undoing(step, attempt: Int(attempt))
      case 18: return step().map { .done($0) }
      case 19:
        guard let step = step(), let mayBeDone = flag(), let retryAt = optionalTime() else { return nil }
        return .failed(step, mayBeDone: mayBeDone, retryAt: retryAt)
      case 20:
        switch number(1) {
        case 0: return step().map { .turned(.step($0)) }
        case 1: return .turned(.deadline)
        case 2: return .turned(.asked)
        default: return nil
        }
      case 22: return step().map { .undone($0) }
      case 23:
        guard let step = step(), let retryAt = optionalTime() else { return nil }
        return .undoFailed(step, retryAt: retryAt)
      case 24: return .resumed
      case 25:
        guard let step = step(), let number = number(1) else { return nil }
        switch number {
        case 0: return .steered(step, .tryAgain)
        case 1: return .steered(step, .isDone)
        case 2: return .steered(step, .isNotDone)
        default: return nil
        }
      case 26: return .finished
      case 27: return .compensated
      default: return nil
      }
    }
  }
}
