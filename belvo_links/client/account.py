"""Who a pending session belongs to."""

from __future__ import annotations

import attrs

from belvo_links.protocol.mfa import PendingRecord


@attrs.frozen(kw_only=True)
class Account:
    """Who a pending session belongs to.

    Attributes:
        origin: the address of the service.
        digest: a digest of the API key's id.
    """

    origin: str
    digest: str

    def owns(self, record: PendingRecord) -> bool:
        """Return whether the record was begun by this account at this address."""
        return (record.origin, record.account) == (self.origin, self.digest)
