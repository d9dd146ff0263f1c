"""DiTs and MDTs of other programs: which they are, how their parameters are laid out, what they compute."""
