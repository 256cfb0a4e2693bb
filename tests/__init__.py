"""Tests to copy with the sample: its activities, its workflow and the replay of its histories."""
