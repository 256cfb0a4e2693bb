"""What a service of one's own can copy: its activities, its workflow and its histories, tested.

Copy ``test_activities.py``, ``test_workflow.py`` and ``test_replay.py`` with what they use:
``conftest.py``, ``orders.py``, ``histories/``, ``tools/record_histories.py`` and the settings of
pytest in ``pyproject.toml``. ``test_interleavings.py`` shows how to try every combination,
``test_scripts.py`` how to run a worker as a process.
"""
