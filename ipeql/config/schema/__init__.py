"""The keys of the configuration: what each may be, and what it becomes."""
