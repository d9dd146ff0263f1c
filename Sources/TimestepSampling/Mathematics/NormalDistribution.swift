import NoiseSchedules

/// The standard normal distribution.
enum NormalDistribution {
  /// The probability of [from, to], from ≤ to, without cancellation in the tails.
  static func mass(from: Double, to: Double) -> Double {
    let (a, b) = (from * 0.5.squareRoot(), to * 0.5.squareRoot())
    if a > 0 { return 0.5 * (Double.erfc(a) - Double.erfc(b)) }
    if b < 0 { return 0.5 * (Double.erfc(-b) - Double.erfc(-a)) }
    return 0.5 * (Double.erf(b) - Double.erf(a))
  }

  /// The quantile of a probability.
  ///
  /// Algorithm AS 241, PPND16: relative error about 10⁻¹⁶. Source: Wichura, "The percentage points of the normal
  /// distribution", Applied Statistics 37, 1988.
  static func quantile(_ p: Probability) -> Double {
    let q = p.lower < 0.5 ? p.lower - 0.5 : 0.5 - p.upper
    if abs(q) <= 0.425 {
      let r = 0.180625 - q * q
      return q * polynomial(central.numerator, r) / polynomial(central.denominator, r)
    }
    let r = (-Double.log(min(p.lower, p.upper))).squareRoot()
    let value =
      r <= 5
      ? polynomial(near.numerator, r - 1.6) / polynomial(near.denominator, r - 1.6)
      : polynomial(far.numerator, r - 5) / polynomial(far.denominator, r - 5)
    return q < 0 ? -value : value
  }

  private typealias Rational = (numerator: SIMD8<Double>, denominator: SIMD8<Double>)

  /// Coefficients by rising power.
  private static func polynomial(_ coefficients: SIMD8<Double>, _ x: Double) -> Double {
    var result = coefficients[7]
    for i in stride(from: 6, through: 0, by: -1) { result = result * x + coefficients[i] }
    return result
  }

  private static let central: Rational = (
    SIMD8(
      3.387_132_872_796_366_608, 133.141_667_891_784_377_45, 1971.590_950_306_551_442_7, 13731.693_765_509_461_125,
      45921.953_931_549_871_457, 67265.770_927_008_700_853, 33430.575_583_588_128_105, 2509.080_928_730_122_672_7),
    SIMD8(
      1, 42.313_330_701_600_911_252, 687.187_007_492_057_908_3, 5394.196_021_424_751_107_7,
      21213.794_301_586_595_867, 39307.895_800_092_710_61, 28729.085_735_721_942_674, 5226.495_278_852_854_561)
  )
  private static let near: Rational = (
    SIMD8(
      1.423_437_110_749_683_577_34, 4.630_337_846_156_545_295_9, 5.769_497_221_460_691_405_5,
      3.647_848_324_763_204_605_04, 1.270_458_252_452_368_382_58, 0.241_780_725_177_450_611_77,
      2.272_384_498_926_918_458_33e-2, 7.745_450_142_783_414_076_4e-4),
    SIMD8(
      1, 2.053_191_626_637_758_821_87, 1.676_384_830_183_803_849_4, 0.689_767_334_985_100_004_55,
      0.148_103_976_427_480_074_59, 1.519_866_656_361_645_719_66e-2, 5.475_938_084_995_344_946e-4,
      1.050_750_071_644_416_843_24e-9)
  )
  private static let far: Rational = (
    SIMD8(
      6.657_904_643_501_103_777_2, 5.463_784_911_164_114_369_9, 1.784_826_539_917_291_335_8,
      0.296_560_571_828_504_891_23, 2.653_218_952_657_612_309_3e-2, 1.242_660_947_388_078_438_6e-3,
      2.711_555_568_743_487_578_15e-5, 2.010_334_399_292_288_132_65e-7),
    SIMD8(
      1, 0.599_832_206_555_887_937_69, 0.136_929_880_922_735_805_31, 1.487_536_129_085_061_485_25e-2,
      7.868_691_311_456_132_591e-4, 1.846_318_317_510_054_681_8e-5, 1.421_511_758_316_445_888_7e-7,
      2.044_263_103_389_939_785_64e-15)
  )
}
