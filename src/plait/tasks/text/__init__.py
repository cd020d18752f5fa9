"""Learn a text, character by character, and write on in its voice."""
