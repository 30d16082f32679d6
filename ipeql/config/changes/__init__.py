"""Changes of bundles: read, combine, save and apply them over the files."""
