"""Tests to copy with the sample: the activities, the workflow, the worker and the replay."""
