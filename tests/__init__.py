"""Tests to copy with the sample: one file for each module, and one for replay."""
