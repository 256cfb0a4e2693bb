"""Programs that measure and record; none is a test. RESULTS.md says what an order costs."""
