"""Is a slave usable: pure judgement of what was observed."""
