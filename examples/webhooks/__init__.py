"""A receiver of Belvo's webhooks: see `receiver.py`."""
