"""Finding, pairing, reading and checking files of images, masks and labels."""
