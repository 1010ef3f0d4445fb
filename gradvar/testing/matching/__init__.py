"""A function compared with an oracle on drawn batches."""
