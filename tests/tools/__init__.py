"""Programs that measure and record. The README shows the measurements."""
