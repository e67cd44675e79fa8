// SPDX-License-Identifier: Apache-2.0
package import WeirModel

/// What of the machine rules are told, who read neither files nor clocks: found out by whoever runs them.
package struct MachineFacts: Sendable, Equatable {
  /// The certificate of a file, as far as rules ask for it.
  package struct Certificate: Sendable, Equatable {
    /// As the file writes it: `tls/shop.pem`.
    package var file: String
    /// The last day on which it counts, in UTC.
    package var until: Day

    package init(file: String, until: Day) {
      self.file = file
      self.until = until
    }
  }
  /// Those that could be read; the first of a chain is the one that ends.
  package var certificates: [Certificate]

  package init(certificates: [Certificate] = []) { self.certificates = certificates }
}
