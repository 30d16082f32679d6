"""The generated parts of the documentation and the manual pages."""
