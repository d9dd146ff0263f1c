import CSpeeDiff
import NoiseSchedules
import TimestepSampling

extension SamplerOptions {
  /// Reads the options that C gives, and checks its enumerations.
  init(_ pointer: UnsafePointer<speediff_sampler_options>?) throws {
    let options = try unwrap(pointer, "options").pointee
    guard let strata = Strata(rawValue: options.strata) else {
      throw ArgumentError("strata", "must be a value of speediff_strata", got: options.strata)
    }
    let prediction = PredictionTarget(rawValue: options.prediction)
    guard prediction != nil || options.prediction == 0 else {
      throw ArgumentError("prediction", "must be a value of speediff_prediction", got: options.prediction)
    }
    guard options.normalize == 0 || options.normalize == 1 else {
      throw ArgumentError("normalize", "must be 0 or 1", got: options.normalize)
    }
    self.init(
      seed: options.seed,
      layout: try BatchLayout(
        rank: Int(options.rank), worldSize: Int(options.world_size), accumulation: Int(options.accumulation)),
      strata: strata, prediction: prediction, normalize: options.normalize == 1)
  }
}
