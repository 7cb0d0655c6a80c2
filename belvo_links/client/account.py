"""Whose a pending session is, or a file about links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from belvo_links.protocol.mfa import PendingRecord

if TYPE_CHECKING:
    from belvo_links.client.core import Core


@attrs.frozen(kw_only=True)
class Account:
    """Whose a pending session is, or a file about links.

    Attributes:
        origin: the address of the service.
        digest: a digest of the API key's id.
    """

    origin: str
    digest: str

    def owns(self, record: PendingRecord) -> bool:
        """Return whether the record was begun by this account at this address."""
        return (record.origin, record.account) == (self.origin, self.digest)


def account_of(belvo: Core) -> Account:
    """Return the account that a client's calls are made for."""
    return belvo._account  # noqa: SLF001  # a client shows it to this package alone
