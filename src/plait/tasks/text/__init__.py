"""Learn a text, by characters, bytes or words, and write on in its voice."""
