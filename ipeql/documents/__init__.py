"""What people and programs are shown, as data: status, configuration, plan, transitions. Pure."""
