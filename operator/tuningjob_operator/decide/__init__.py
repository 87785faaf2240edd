"""What is to be done with a TuningJob: pure functions from what was seen to what should be."""
