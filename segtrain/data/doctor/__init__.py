"""The data doctor: what is wrong with image and mask files, and the line that repairs it."""
