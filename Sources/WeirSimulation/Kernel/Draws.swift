// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// Chance that belongs to a request, not to a moment: what a request finds at a component does not depend on who came
/// before it.
///
/// A request is numbered by its traffic, and its key is a hash of the seed, the traffic's name and the number. Each call in
/// its tree has a key of its own (the parent's, hashed with the place of the call among the parent's calls), and a draw is a
/// hash of the call's key, the component's salt and the attempt. So a changed policy (a limit, a retry, another balancer)
/// leaves arrival times and the work of every request alone, even where requests overtake each other: common random
/// numbers in the strict sense. Hashes are SplitMix64's finalizer, which passes BigCrush as a generator on a counter
/// (Steele, Lea and Flood, OOPSLA 2014).
package enum Draws {
  /// SplitMix64's step from `x`.
  @inline(__always)
  package static func mixed(_ x: UInt64) -> UInt64 {
    var z = x &+ 0x9e37_79b9_7f4a_7c15
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// A number for the thing called `name` under `seed`.
  package static func salt(_ seed: UInt64, _ name: String) -> UInt64 {
    var random = SeededRandom(seed: seed, stream: name)
    return random.next()
  }

  /// Uniform in [0, 1).
  @inline(__always)
  package static func unit(_ hash: UInt64) -> Double { Double(hash >> 11) * 0x1p-53 }
}

/// How long a component works on a request by itself.
package enum WorkModel: Sendable, Equatable, BitwiseCopyable {
  case none
  /// In nanoseconds.
  case constant(Double)
  case exponential(mean: Double)
  case lognormal(median: Double, sigma: Double)
  /// The sum of two exponentials: squared coefficient of variation ½.
  case erlang2(mean: Double)
  /// With probability `share` exponential of mean `one`, else of mean `other`.
  case hyperexponential(share: Double, one: Double, other: Double)

  /// Two exponentials with the mean and squared coefficient of variation wanted (at least 1), each giving half of the
  /// mean ("balanced means": Whitt, *The Queueing Network Analyzer*, BSTJ 62, 1983).
  package static func hyperexponential(mean: Double, cv2: Double) -> WorkModel {
    let p = 0.5 * (1 + ((cv2 - 1) / (cv2 + 1)).squareRoot())
    return .hyperexponential(share: p, one: mean / (2 * p), other: mean / (2 * (1 - p)))
  }

  /// Lognormal with the mean and squared coefficient of variation wanted.
  package static func lognormal(mean: Double, cv2: Double) -> WorkModel {
    let sigma2 = Mathematics.log(1 + cv2)
    return .lognormal(median: mean * Mathematics.exp(-sigma2 / 2), sigma: sigma2.squareRoot())
  }

  /// The mean in nanoseconds.
  package var mean: Double {
    switch self {
    case .none: 0
    case .constant(let length): length
    case .exponential(let mean), .erlang2(let mean): mean
    case .lognormal(let median, let sigma): median * Mathematics.exp(sigma * sigma / 2)
    case .hyperexponential(let share, let one, let other): share * one + (1 - share) * other
    }
  }

  /// The length that belongs to `hash`, in whole nanoseconds.
  @inline(__always)
  package func draw(_ hash: UInt64) -> Int64 {
    switch self {
    case .none: 0
    case .constant(let length): Int64(length)
    case .exponential(let mean): Int64(-Mathematics.log(1 - Draws.unit(hash)) * mean + 0.5)
    case .lognormal, .erlang2, .hyperexponential: drawOther(hash)
    }
  }

  @inline(never)
  private func drawOther(_ hash: UInt64) -> Int64 {
    let length: Double
    switch self {
    case .none, .constant, .exponential: return 0
    case .lognormal(let median, let sigma):
      // The middle of the cell keeps the draw within (0, 1).
      let p = Draws.unit(hash) + 0x1p-54
      length = median * Mathematics.exp(sigma * Mathematics.normalQuantile(p))
    case .erlang2(let mean):
      let second = Draws.unit(Draws.mixed(hash))
      length = -Mathematics.log((1 - Draws.unit(hash)) * (1 - second)) * mean / 2
    case .hyperexponential(let share, let one, let other):
      let mean = Draws.unit(Draws.mixed(hash)) < share ? one : other
      length = -Mathematics.log(1 - Draws.unit(hash)) * mean
    }
    return length < 9e18 ? Int64(length.rounded()) : .max / 4
  }
}
