"""A training run in a folder: settings, loop, files, samples. The library never imports it."""
