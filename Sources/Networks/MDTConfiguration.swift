import ArgumentErrors

/// The shape of an MDT, and its masking.
public struct MDTConfiguration: NetworkConfiguration, Equatable {
  /// The shape.
  public var shape: TransformerShape
  /// The masking.
  public var masking: MDTMasking

  /// Describes a network.
  public init(shape: TransformerShape = TransformerShape(), masking: MDTMasking) {
    (self.shape, self.masking) = (shape, masking)
  }

  /// MDTv2-XL/2, on latents of 32 × 32 with 4 channels.
  public init() { self.init(masking: .secondVersion) }

  /// The values of the masking by their names.
  static var maskingFields: [NetworkField<MDTConfiguration>] {
    [
      NetworkField(name: "version", kind: .integer, isRequired: false) {
        Double($0.masking.version.rawValue)
      } set: { configuration, value in
        guard let version = Int(exactly: value).flatMap(MDTMasking.Version.init) else {
          throw ArgumentError("version", "must be 1 or 2", got: text(of: value, .integer))
        }
        configuration.masking.version = version
      },
      .integer("decode_layer", \.masking.decoderDepth),
      .real("mask_ratio", \.masking.maskRatio), .real("min_snr_gamma", \.masking.gammaOrZero),
    ]
  }

  /// The values by the names of the authors' arguments.
  public static var fields: [NetworkField<MDTConfiguration>] {
    TransformerShape.fields.map { $0.within(\.shape) } + maskingFields
  }

  /// What it has beside its shape.
  var maskingValues: [(name: String, value: Double)] { Self.maskingFields.map { ($0.name, $0.get(self)) } }

  /// The network.
  public func network() throws -> any DiffusionNetwork {
    try shape.check()
    try masking.check(for: shape)
    return try MDT(self)
  }
}

extension MDTMasking {
  /// γ, or 0 for none.
  fileprivate var gammaOrZero: Double {
    get { minSNRGamma ?? 0 }
    set { minSNRGamma = newValue == 0 ? nil : newValue }
  }
}
