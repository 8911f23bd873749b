"""Device, precision, random numbers and signals of this process."""
