"""Files of images, masks and labels: found, paired, read and checked."""
