"""The native library: finding, loading, declarations, argument checks and handles."""
