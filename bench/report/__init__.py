"""What was measured, as pages, tables and a picture."""
