"""The output for people and programs, as data: status, configuration, plan, transitions. Pure."""
