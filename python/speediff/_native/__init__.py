"""The native library: finding, loading and declaring it, checking what goes in, owning what comes out."""
