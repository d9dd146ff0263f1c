import ArgumentErrors

/// A caller's mistake: which argument, the rule it breaks, and the value that was given.
public typealias ArgumentError = ArgumentErrors.ArgumentError
