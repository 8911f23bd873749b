"""From YAML and overrides to a checked Config; imports no torch."""
