/// What Swift calls the arguments whose names in C are other ones. A test finds names with underscores that are missing.
private let swiftNames = [
  "alphas_cumprod": "alphasCumprod", "beta_d": "betaD", "beta_end": "betaEnd", "beta_min": "betaMin",
  "beta_start": "betaStart", "cfg_scale": "guidance", "class_dropout_prob": "classDropout",
  "decode_layer": "decoderDepth", "ema_decay": "emaDecay", "ema_warmup": "emaWarmsUp", "emphasis": "density",
  "end_step": "endStep", "epsilon_t": "epsilonT", "first_call": "firstCall", "frequency_shift": "frequencyShift",
  "global_step": "globalStep", "hidden_size": "hiddenSize", "in_channels": "channels", "input_size": "inputSize",
  "kept_count": "keptCount", "learn_sigma": "learnsSigma", "learning_rate": "learningRate", "log_snr": "logSNR",
  "mask_ratio": "maskRatio", "masked_noise": "secondNoise", "max_grad_norm": "maximumGradientNorm",
  "min_snr_gamma": "minSNRGamma", "mlp_ratio": "mlpRatio", "model": "name", "n": "count", "num_classes": "classes",
  "num_heads": "heads", "patch_size": "patchSize", "section_counts": "sectionCounts", "sections": "sectionCounts",
  "sigma_data": "sigmaData", "sigma_max": "sigmaMax", "sigma_min": "sigmaMin", "start_step": "startStep",
  "start_steps": "startStep",
  "t": "timesteps", "uniform_prob": "uniformProb", "warm_up": "steps", "warmup_steps": "warmUpSteps",
  "weight_decay": "weightDecay", "world_size": "worldSize", "x": "images", "y": "labels",
]

/// An argument that has its name in C, perhaps with an index, in Swift.
func argumentInSwift(_ argument: String) -> String {
  let name = argument.prefix { $0 != "[" }
  guard let label = swiftNames[String(name)] else { return namesInSwift(argument) }
  return label + argument.dropFirst(name.count)
}

/// A sentence with C's names of arguments, in Swift. A name is a word with an underscore, or one whose value follows:
/// `n = 4`.
package func namesInSwift(_ text: String) -> String {
  var (result, rest) = ("", text[...])
  while !rest.isEmpty {
    let word = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
    guard !word.isEmpty else {
      result.append(rest.removeFirst())
      continue
    }
    rest = rest.dropFirst(word.count)
    let isName = word.contains("_") || rest.hasPrefix(" = ")
    result += isName ? swiftNames[String(word)] ?? String(word) : String(word)
  }
  return result
}
