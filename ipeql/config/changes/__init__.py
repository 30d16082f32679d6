"""Changes over the files: read, put together, saved, laid over."""
