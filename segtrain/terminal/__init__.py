"""The terminal: arguments of the command line, help pages, progress bars and tables."""
