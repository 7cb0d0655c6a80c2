"""A web application that connects bank accounts: see `app.py`; `python -m examples.web_fastapi` runs it."""
