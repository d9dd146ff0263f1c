import ArgumentErrors

extension Trainer {
  /// A micro-batch in arrays, or in buffers that last as long as the call. Its samples are counted by its images.
  public struct Batch<Floats: Collection<Float>> {
    /// x₀, shape (count, channels, size, size).
    public var images: Floats
    /// Classes, shape (count,), or the null label; nil for a network without labels.
    public var labels: [Int64]?
    /// Timesteps, shape (count,); nil: drawn. If they are given, no label is dropped.
    public var timesteps: [Int64]?
    /// ε, in the images' shape; nil: drawn.
    public var noise: Floats?
    /// The ε of a second pass, in the images' shape; nil: drawn.
    public var secondNoise: Floats?
    /// The tokens that a pass keeps if it hides some, as many of each sample, without repeats; nil: drawn.
    public var kept: [Int64]?
    /// Weights, shape (count,); nil: the sampler's.
    public var weights: [Float]?
    /// Which entries of the step's global batch these are; nil: those of the sampler's layout.
    public var place: Place?

    /// A batch of which everything else is drawn.
    public init(images: Floats, labels: [Int64]? = nil) {
      self.images = images
      self.labels = labels
    }
  }

  /// The place of a micro-batch in the step's global batch, for parts of different sizes.
  public struct Place: Sendable {
    /// The entry of its first sample.
    public var offset: Int
    /// The number of entries of the global batch, by which gradients and objective are divided.
    public var total: Int

    /// Describes a place.
    public init(offset: Int, total: Int) {
      self.offset = offset
      self.total = total
    }
  }

  /// The same in memory whose sizes the caller answers for, as C's.
  public struct UnsafeBatch {
    /// x₀, shape (count, channels, size, size).
    public var images: UnsafePointer<Float>
    /// Classes, shape (count,).
    public var labels: UnsafePointer<Int64>?
    /// The samples.
    public var count: Int
    /// Timesteps, shape (count,).
    public var timesteps: UnsafePointer<Int64>?
    /// ε, in the images' shape.
    public var noise: UnsafePointer<Float>?
    /// The ε of a second pass, in the images' shape.
    public var secondNoise: UnsafePointer<Float>?
    /// The tokens that are kept, shape (count, keptCount).
    public var kept: UnsafePointer<Int64>?
    /// The number of these per sample.
    public var keptCount = 0
    /// Weights, shape (count,).
    public var weights: UnsafePointer<Float>?
    /// Which entries of the step's global batch these are.
    public var place: Place?

    /// A batch with images and labels only.
    public init(images: UnsafePointer<Float>, labels: UnsafePointer<Int64>?, count: Int) {
      self.images = images
      self.labels = labels
      self.count = count
    }
  }
}
