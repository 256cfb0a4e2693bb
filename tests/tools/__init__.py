"""Programs that measure and record; none of them is a test."""
