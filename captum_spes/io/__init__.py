"""Files: audio, texts that are written whole or not at all, and how results were made."""
