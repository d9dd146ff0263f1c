"""What both samplers are made of: draws ahead of use, recipes, saved state."""
