"""What stands in the terminal: the words of the command line, help pages, progress and tables."""
