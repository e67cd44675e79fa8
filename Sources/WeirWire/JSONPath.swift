// SPDX-License-Identifier: Apache-2.0

/// Where something stands in a JSON text: `customer.id`, `items[].price`, `[].id`; `\.` is a dot of a name.
public struct JSONPath: Sendable, Equatable {
  public enum Step: Sendable, Equatable {
    /// A member of an object, by its name in UTF-8.
    case member([UInt8])
    /// Every item of a list.
    case each
  }

  public enum Mistake: Error, Sendable, Equatable, CustomStringConvertible {
    case empty(path: String)
    case brackets(path: String)
    case tooDeep(path: String)
    case endsInItems(path: String)

    public var description: String {
      switch self {
      case .empty(let path): "in “\(path)” a name is missing: a path is written customer.id or items[].price"
      case .brackets(let path): "in “\(path)” brackets are not [], which stands for all items of a list"
      case .tooDeep(let path): "“\(path)” is deeper than \(JSONPath.stepsMax) steps"
      case .endsInItems(let path): "“\(path)” ends in []: name the list, or a member of its items"
      }
    }
  }

  /// Deeper paths are mistakes: no body in use nests names so deep.
  public static let stepsMax = 16

  public private(set) var steps: [Step] = []

  /// A path to a member of an object.
  public init(_ text: String) throws(Mistake) {
    var name: [UInt8] = []
    var isNamed = false
    var bytes = Array(text.utf8)[...]
    var isBehindBrackets = false
    func end(_ steps: inout [Step]) throws(Mistake) {
      if isBehindBrackets && !isNamed { return }
      guard isNamed, !isBehindBrackets else { throw .empty(path: text) }
      steps.append(.member(name))
    }
    while let byte = bytes.popFirst() {
      switch byte {
      case UInt8(ascii: "."):
        try end(&steps)
        if bytes.isEmpty { throw .empty(path: text) }
        name = []
        isNamed = false
        isBehindBrackets = false
      case UInt8(ascii: "["):
        guard bytes.popFirst() == UInt8(ascii: "]") else { throw .brackets(path: text) }
        if isNamed {
          steps.append(.member(name))
          name = []
          isNamed = false
        } else if !isBehindBrackets && !steps.isEmpty {
          throw .empty(path: text)
        }
        steps.append(.each)
        isBehindBrackets = true
      case UInt8(ascii: "]"): throw .brackets(path: text)
      default:
        if isBehindBrackets { throw .brackets(path: text) }
        let isEscape = byte == UInt8(ascii: "\\") && (bytes.first == UInt8(ascii: ".") || bytes.first == byte)
        name.append(isEscape ? bytes.removeFirst() : byte)
        isNamed = true
      }
    }
    if isBehindBrackets && !isNamed { throw .endsInItems(path: text) }
    try end(&steps)
    if steps.count > JSONPath.stepsMax { throw .tooDeep(path: text) }
  }
}
