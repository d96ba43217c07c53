"""Scripts that make the pictures and the interactive pages of the documentation."""
