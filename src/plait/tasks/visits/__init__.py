"""What is prescribed in a patient's next period. A research tool, not medical advice."""

NOT_ADVICE = "a research tool, not medical advice"
