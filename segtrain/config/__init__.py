"""Configuration: composing YAML groups and overrides, and checking them; imports no torch."""
