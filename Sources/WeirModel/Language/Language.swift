// SPDX-License-Identifier: Apache-2.0

/// The language as a whole: every section that can be reached from the root.
package enum Language {
  /// In the order of their first use; each once.
  static let sections: [Section] = {
    var found: [Section] = []
    func visit(_ shape: Shape) {
      if let list = shape.list, !shape.isSection { visit(list.item()) }
      switch shape.map {
      case .section(let section): add(section())
      case .named(_, let value): visit(value())
      case nil: break
      }
    }
    func add(_ section: Section) {
      guard !found.contains(where: { $0.name == section.name }) else { return }
      found.append(section)
      for key in section.keys { visit(key.shape) }
    }
    add(RootKeys.section)
    return found
  }()
}
