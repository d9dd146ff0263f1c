import ArgumentErrors
import NoiseSchedules
import TimestepSampling

/// How images are generated.
public struct GenerationOptions: Sendable {
  /// How each step is computed.
  public enum Method: Int32, Sendable, CaseIterable {
    /// Ancestral sampling. Ho et al. 2020, Algorithm 2.
    case ddpm = 1
    /// The family of Song et al. 2021, Eq. 12; η = 0 is deterministic.
    case ddim = 2
  }

  /// The method.
  public var method: Method
  /// How many of the schedule's steps to take, in [2, T], evenly spaced, including the first and the last.
  public var steps: Int
  /// DDIM's η, at least 0.
  public var eta: Double
  /// s in prediction(null) + s·(prediction(label) - prediction(null)); 1: no guidance. Ho and Salimans 2022.
  public var guidance: Double
  /// Whether predictions of x₀ are clipped to [-1, 1].
  public var clips: Bool
  /// Whether to use the average of the parameters.
  public var usesAverage: Bool

  /// Describes a generation.
  public init(
    method: Method = .ddpm, steps: Int = 250, eta: Double = 0, guidance: Double = 1, clips: Bool = false,
    usesAverage: Bool = true
  ) {
    self.method = method
    self.steps = steps
    self.eta = eta
    self.guidance = guidance
    self.clips = clips
    self.usesAverage = usesAverage
  }
}

extension Trainer {
  /// Generates one image per seed.
  ///
  /// An image depends only on its seed, its label and the options (up to rounding), whatever else is in the batch. Step 0 of
  /// a seed's `generation` noise is x_T; step k is the noise of the k-th denoising step. The variance is that predicted
  /// with the label, or β if none is learned.
  ///
  /// - Parameters:
  ///   - labels: as many as seeds; nil for a network without labels.
  ///   - out: room for (count, channels, size, size).
  ///   - progress: is called after each step with the steps done and their total; returns whether to continue.
  /// - Throws: `ArgumentError`, `MemoryError`, `TrainingError.cancelled`.
  public func generate(
    labels: UnsafePointer<Int64>?, seeds: UnsafeBufferPointer<UInt64>, options: GenerationOptions,
    out: UnsafeMutablePointer<Float>, progress: (_ done: Int, _ total: Int) -> Bool
  ) throws {
    try exclusively {
      let course = try Course(self, options)
      try checkLabels(labels, seeds.count)
      let isGuided = options.guidance != 1
      guard !isGuided || self.labels?.null != nil else {
        throw ArgumentError(
          "cfg_scale", "must be 1 for a network without a null label (class_dropout_prob = 0)", got: options.guidance)
      }
      // Larger batches are no faster and need more memory.
      let chunk = max(1, min(seeds.count, isGuided ? 32 : 64))
      let chunks = (seeds.count + chunk - 1) / chunk
      for index in 0..<chunks {
        let range = index * chunk..<min((index + 1) * chunk, seeds.count)
        try generate(
          labels.map { $0 + range.lowerBound }, UnsafeBufferPointer(rebasing: seeds[range]), options, course,
          out + range.lowerBound * loss.elements
        ) { progress(index * options.steps + $0, chunks * options.steps) }
      }
    }
  }

  private func generate(
    _ labels: UnsafePointer<Int64>?, _ seeds: UnsafeBufferPointer<UInt64>, _ options: GenerationOptions,
    _ course: Course, _ x: UnsafeMutablePointer<Float>, progress: (_ done: Int) -> Bool
  ) throws {
    let (elements, isGuided) = (loss.elements, options.guidance != 1)
    let rows = seeds.count * (isGuided ? 2 : 1)
    let program = try inferenceProgram(for: rows, usesAverage: options.usesAverage)
    var noise = [Float](repeating: 0, count: elements)
    for (i, seed) in seeds.enumerated() {
      Noise(seed: seed, purpose: .generation, step: 0).fill(x + i * elements, entry: 0, elements: elements)
    }
    if let labels, let target = program.labels?.base {
      for i in 0..<seeds.count {
        target[i] = Int32(labels[i])
        if isGuided, let null = self.labels?.null { target[seeds.count + i] = Int32(null) }
      }
    }
    for (done, point) in course.points.reversed().enumerated() {
      for row in 0..<rows {
        let (image, input) = (x + row % seeds.count * elements, program.images.row(row))
        let scale = Float(point.process.inputScale)
        for e in 0..<elements { input[e] = scale * image[e] }
        program.timesteps[row] = Float(point.timestep)
      }
      program.run(pool)
      for (i, seed) in seeds.enumerated() {
        if point.addsNoise {
          noise.withUnsafeMutableBufferPointer {
            // An image has at least one element.
            Noise(seed: seed, purpose: .generation, step: UInt64(done + 1))
              .fill($0.baseAddress!, entry: 0, elements: elements)
          }
        }
        let null = isGuided ? UnsafePointer(program.output.row(seeds.count + i)) : nil
        course.step(
          x + i * elements, at: point, input: program.images.row(i), output: program.output.row(i), null: null,
          noise: noise)
      }
      guard progress(done + 1) else { throw TrainingError.cancelled }
    }
  }
}

/// The steps of a generation, with their coefficients.
private struct Course {
  struct Point {
    let timestep: Int
    let process: ProcessPoint
    let posterior: PosteriorPoint
    let alphaCumprodBefore: Double
    let alphaCumprod: Double
    let addsNoise: Bool
  }

  let points: [Point]
  private let options: GenerationOptions
  private let elements: Int
  private let learnsSigma: Bool

  init(_ trainer: Trainer, _ options: GenerationOptions) throws {
    let schedule = trainer.sampler.schedule
    guard options.steps >= 2, options.steps <= schedule.steps else {
      throw ArgumentError("steps", "must be in [2, \(schedule.steps)]", got: options.steps)
    }
    guard options.eta >= 0, options.eta.isFinite else {
      throw ArgumentError("eta", "must be at least 0 and finite", got: options.eta)
    }
    guard options.guidance.isFinite else { throw ArgumentError("cfg_scale", "must be finite", got: options.guidance) }
    guard trainer.prediction != .epsilon || (schedule.alphasCumprod.last ?? 0) > 0 else {
      throw ArgumentError(
        "prediction", "must not be epsilon if generation starts without signal (alphas_cumprod = 0)",
        got: "epsilon")
    }
    let timesteps = try Respacing.sections([options.steps], of: schedule.steps)
    let respaced = try schedule.respaced(timesteps)
    let posteriors = PosteriorPoint.points(of: respaced)
    points = timesteps.indices.map { i in
      let cumprod = respaced.alphasCumprod[i]
      return Point(
        timestep: timesteps[i], process: ProcessPoint(alphaCumprod: cumprod, prediction: trainer.prediction),
        posterior: posteriors[i], alphaCumprodBefore: i > 0 ? respaced.alphasCumprod[i - 1] : 1,
        alphaCumprod: cumprod, addsNoise: i > 0 && (options.method == .ddpm || options.eta > 0))
    }
    self.options = options
    elements = trainer.loss.elements
    learnsSigma = trainer.network.image.learnsSigma
  }

  /// Takes one image from a step to the previous one.
  ///
  /// - Parameters:
  ///   - x: x_t, which becomes x_{t-1}.
  ///   - input: the network's input.
  ///   - output: its output for the label.
  ///   - null: its output for the null label, for guidance.
  func step(
    _ x: UnsafeMutablePointer<Float>, at point: Point, input: UnsafePointer<Float>, output: UnsafePointer<Float>,
    null: UnsafePointer<Float>?, noise: [Float]
  ) {
    let (process, posterior) = (point.process, point.posterior)
    let before = point.alphaCumprodBefore
    let ratio = (1 - before) / (1 - point.alphaCumprod)
    // ᾱ_t/ᾱ_{t-1} is 0 if there is no signal.
    let sigma = options.eta * (ratio * (1 - point.alphaCumprod / before)).squareRoot()
    let direction = max(0, 1 - before - sigma * sigma).squareRoot()
    let fixedScale = Double.exp(posterior.fixedLogVariance / 2)
    for e in 0..<elements {
      var prediction = Double(output[e])
      if let null { prediction = Double(null[e]) + options.guidance * (prediction - Double(null[e])) }
      var sample = process.inputToSample * Double(input[e]) + process.predictionToSample * prediction
      if options.clips { sample = min(max(sample, -1), 1) }
      let now = Double(x[e])
      var next: Double
      var scale: Double
      switch options.method {
      case .ddpm:
        next = posterior.meanOfSample * sample + posterior.meanOfInput * now
        scale = learnsSigma ? Double.exp(posterior.logVariance(Double(output[elements + e])) / 2) : fixedScale
      case .ddim:
        let epsilon = (now - process.rootSignal * sample) / process.rootNoise
        next = before.squareRoot() * sample + direction * epsilon
        scale = sigma
      }
      if point.addsNoise { next += scale * Double(noise[e]) }
      x[e] = Float(next)
    }
  }
}
