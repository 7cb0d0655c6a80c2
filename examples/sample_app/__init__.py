"""A small application that connects bank accounts, and its tests: see `connector.py` and `test_connector.py`."""
