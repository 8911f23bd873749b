"""What encoders there are, known without torch and timm: names, aliases, and a shipped table."""
