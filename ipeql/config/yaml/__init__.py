"""Files as plain data with the place of every value: a strict reader of YAML."""
