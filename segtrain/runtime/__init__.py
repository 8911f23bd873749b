"""Device, precision, random number generators and signal handling of the process."""
