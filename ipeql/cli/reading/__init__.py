"""The verbs that read and change nothing, one file each."""
