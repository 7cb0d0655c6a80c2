"""Connecting a bank account on aiohttp.web, in one file: see `app.py`."""
