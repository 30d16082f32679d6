"""A strict YAML reader: files as plain data, with the position of every value."""
