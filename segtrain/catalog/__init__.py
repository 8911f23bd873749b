"""The catalog of encoders: names, aliases and a shipped table, available without torch and timm."""
