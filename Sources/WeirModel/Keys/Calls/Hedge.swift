// SPDX-License-Identifier: Apache-2.0

/// The keys of a call that say when it is made a second time beside the first.
enum HedgeKeys {
  static let fields: [Field<Call>] = [
    .later("hedge", "A second attempt beside a slow first one.").inDefaults
  ]
}
