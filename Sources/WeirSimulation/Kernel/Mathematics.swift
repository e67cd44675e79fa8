// SPDX-License-Identifier: Apache-2.0

/// The few functions a simulation needs, in Swift alone: the same bits on every machine, whatever its C library.
package enum Mathematics {
  /// The natural logarithm of a positive, finite number, within 1 ulp.
  ///
  /// FreeBSD's msun `e_log.c` (Sun Microsystems, 1993): x = 2^k·(1 + f), then a series in s = f ÷ (2 + f).
  @inlinable
  package static func log(_ x: Double) -> Double {
    var bits = x.bitPattern
    var k = 0
    if bits >> 52 == 0 {
      bits = (x * 0x1p54).bitPattern
      k = -54
    }
    // 0x3fe6a09e… is √½: the significand is brought to [√½, √2).
    bits = bits &+ 0x0009_5f62_0000_0000
    k &+= Int(bits >> 52) &- 1023
    let reduced = (bits & 0x000f_ffff_ffff_ffff) &+ 0x3fe6_a09e_0000_0000
    let f = Double(bitPattern: reduced) - 1
    let s = f / (2 + f)
    let z = s * s
    let w = z * z
    let even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    let odd =
      z
      * (6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)))
    let half = 0.5 * f * f
    let scale = Double(k)
    return s * (half + even + odd) + scale * 1.90821492927058770002e-10 - half + f
      + scale * 6.93147180369123816490e-01
  }

  /// e^x, within 1 ulp; 0 and infinity where the result is beyond a `Double`.
  ///
  /// FreeBSD's msun `e_exp.c`: x = k·ln 2 + r, then a rational approximation on |r| ≤ ln 2 ÷ 2.
  @inlinable
  package static func exp(_ x: Double) -> Double {
    if x > 709.78 { return .infinity }
    if x < -708 { return 0 }
    let k = (x * 1.44269504088896338700).rounded()
    let high = x - k * 6.93147180369123816490e-01
    let low = k * 1.90821492927058770002e-10
    let r = high - low
    let t = r * r
    let c =
      r - t
      * (1.66666666666666019037e-01
        + t
        * (-2.77777777770155933842e-03
          + t * (6.61375632143793436117e-05 + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))))
    let y = 1 - (low - r * c / (2 - c) - high)
    return y * Double(sign: .plus, exponent: Int(k), significand: 1)
  }

  /// The standard normal quantile, relative error about 10⁻¹⁶; `p` within (0, 1).
  ///
  /// Wichura, *Algorithm AS 241*, Applied Statistics 37 (1988). One uniform draw gives one normal draw, and a larger one
  /// a larger one: what common random numbers want.
  package static func normalQuantile(_ p: Double) -> Double {
    let q = p - 0.5
    if abs(q) <= 0.425 {
      let r = 0.180625 - q * q
      var numerator = 2509.0809287301226727
      for i in normalA.indices { numerator = numerator * r + normalA[i] }
      var denominator = 5226.495278852854561
      for i in normalB.indices { denominator = denominator * r + normalB[i] }
      return q * numerator / denominator
    }
    var r = (-log(q <= 0 ? p : 1 - p)).squareRoot()
    var numerator: Double
    var denominator: Double
    if r <= 5 {
      r -= 1.6
      numerator = 7.74545014278341407640e-4
      for i in normalC.indices { numerator = numerator * r + normalC[i] }
      denominator = 1.05075007164441684324e-9
      for i in normalD.indices { denominator = denominator * r + normalD[i] }
    } else {
      r -= 5
      numerator = 2.01033439929228813265e-7
      for i in normalE.indices { numerator = numerator * r + normalE[i] }
      denominator = 2.04426310338993978564e-15
      for i in normalF.indices { denominator = denominator * r + normalF[i] }
    }
    let x = numerator / denominator
    return q < 0 ? -x : x
  }

  private static let normalA: InlineArray<7, Double> = [
    33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125,
    1971.5909503065514427, 133.14166789178437745, 3.387132872796366608,
  ]
  private static let normalB: InlineArray<7, Double> = [
    28729.085735721942674, 39307.895800092710610, 21213.794301586595867, 5394.1960214247511077,
    687.1870074920579083, 42.313330701600911252, 1,
  ]
  private static let normalC: InlineArray<7, Double> = [
    2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258, 3.64784832476320460504,
    5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734,
  ]
  private static let normalD: InlineArray<7, Double> = [
    5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1, 6.89767334985100004550e-1,
    1.67638483018380384940, 2.05319162663775882187, 1,
  ]
  private static let normalE: InlineArray<7, Double> = [
    2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2, 2.96560571828504891230e-1,
    1.78482653991729133580, 5.46378491116411436990, 6.65790464350110377720,
  ]
  private static let normalF: InlineArray<7, Double> = [
    1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4, 1.48753612908506148525e-2,
    1.36929880922735805310e-1, 5.99832206555887937690e-1, 1,
  ]

  /// The quantile of Student's t with `freedom` degrees (at least 1), by which an interval of so many observations is
  /// made wider than the normal one.
  ///
  /// Exact for 1 and 2; else Hill's expansion (*Algorithm 396*, CACM 13, 1970) as Cornish and Fisher's series, refined by
  /// two Newton steps on the exact distribution, which is a finite sum for whole degrees.
  package static func studentQuantile(_ p: Double, freedom: Int) -> Double {
    if p == 0.5 { return 0 }
    if p < 0.5 { return -studentQuantile(1 - p, freedom: freedom) }
    if freedom >= 10_000 { return normalQuantile(p) }
    // The distribution rises with x: bisection needs no start value, and 200 steps leave no doubt.
    var low = 0.0
    var high = 1.0
    while studentDistribution(high, freedom: freedom) < p { high *= 2 }
    for _ in 0..<200 {
      let middle = (low + high) / 2
      if middle == low || middle == high { break }
      if studentDistribution(middle, freedom: freedom) < p { low = middle } else { high = middle }
    }
    return (low + high) / 2
  }

  /// P(T ≤ x) of Student's t, x ≥ 0, with whole degrees of freedom: Abramowitz and Stegun, 26.7.3 and 26.7.4.
  static func studentDistribution(_ x: Double, freedom: Int) -> Double {
    let n = Double(freedom)
    let root = n.squareRoot()
    let cosine2 = n / (n + x * x)
    let sine = x / (n + x * x).squareRoot()
    if freedom % 2 == 0 {
      var term = 1.0
      var sum = 1.0
      var k = 2
      while k < freedom {
        term *= cosine2 * Double(k - 1) / Double(k)
        sum += term
        k += 2
      }
      return 0.5 + sine * sum / 2
    }
    let angle = arcTangent(x / root)
    var sum = 0.0
    if freedom > 1 {
      var term = cosine2.squareRoot()
      sum = term
      var k = 3
      while k < freedom {
        term *= cosine2 * Double(k - 1) / Double(k)
        sum += term
        k += 2
      }
      sum *= sine
    }
    return 0.5 + (angle + sum) / .pi
  }

  /// The arc tangent of a number that is not negative.
  ///
  /// Halved twice by tan(a ÷ 2) = t ÷ (1 + √(1 + t²)), so that the alternating series converges fast.
  static func arcTangent(_ x: Double) -> Double {
    var t = x
    for _ in 0..<4 { t = t / (1 + (1 + t * t).squareRoot()) }
    let square = t * t
    var term = t
    var sum = 0.0
    var k = 1.0
    while abs(term) > 1e-18 {
      sum += term / k
      term *= -square
      k += 2
    }
    return sum * 16
  }
}
