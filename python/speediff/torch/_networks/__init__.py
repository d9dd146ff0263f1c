"""DiTs and MDTs of other programs: detection, parameter layout and checks of their output."""
