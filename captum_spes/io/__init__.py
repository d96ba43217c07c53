"""Files: audio, texts that appear whole, and what made them."""
