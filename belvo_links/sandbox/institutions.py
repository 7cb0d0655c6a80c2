"""The documented test institutions (documentation sections 17.1 and 21)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from attrs import frozen

from .answers import JsonValue

InstitutionType = Literal["bank", "fiscal", "employment"]

BANK_FORM = r"^[a-zA-Z0-9_]{1,16}$"
"""Form rule of the test banks for user name and password (documentation section 17.1)."""
TOKEN_FORM = r"^\d{6}$"  # noqa: S105 - the rule for a form field, not a token
"""Form rule of the optional token field of the MFA banks (documentation section 17.1)."""


@frozen(kw_only=True)
class Institution:
    """A test institution: what its login form wants and what can be fetched from it."""

    id: int
    name: str
    type: InstitutionType
    display_name: str
    country: str
    resources: tuple[str, ...]
    """What ``fetch_resources`` may name."""
    core: tuple[str, ...]
    """What a recurrent link fetches when the caller names nothing (documentation section 9.2)."""
    fields: tuple[str, ...] = ("username", "password")
    """Names of the mandatory form fields."""
    mfa: bool = False
    """Whether the documented MFA users work here (documentation section 17.3)."""
    integration_type: Literal["credentials", "openfinance"] = "credentials"

    @property
    def form(self) -> tuple[str, ...]:
        """Names of all form fields; the banks with a second factor take a token as well (section 17.1)."""
        return (*self.fields, "token") if self.mfa else self.fields

    @property
    def website(self) -> str:
        """Invented, of a domain that nobody can own."""
        return f"https://{self.name.partition('_')[0]}.example/"

    @property
    def shown_resources(self) -> tuple[str, ...]:
        """BALANCES is shown among the resources but is no value of ``fetch_resources`` (section 18.1)."""
        return (*self.resources, "BALANCES") if self.type == "bank" else self.resources

    def status(self, down: Collection[str]) -> Literal["healthy", "down"]:
        """Whether it is among those that are down."""
        return "down" if self.name in down else "healthy"

    @property
    def needs_password(self) -> bool:
        """Employment in Mexico takes none (documentation section 9.2)."""
        return "password" in self.fields

    def to_json(self, down: Collection[str] = ()) -> Mapping[str, JsonValue]:
        """The institution as the API shows it (documentation section 21)."""
        features = [{"name": "token_required", "description": "The institution may ask for a token"}]
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "website": self.website,
            "display_name": self.display_name,
            "country_codes": [self.country],
            "primary_color": "#056dae",
            "logo": None,
            "icon_logo": None,
            "text_logo": None,
            "form_fields": [_form_field(self, name) for name in self.form],
            "features": features if self.mfa else [],
            "resources": self.shown_resources,
            "integration_type": self.integration_type,
            "status": self.status(down),
            "openbanking_information": self._openbanking(),
        }

    def _openbanking(self) -> Mapping[str, JsonValue] | None:
        if self.integration_type != "openfinance":
            return None
        return {"description": "A participant that is a mock", "participants": None, "authorization_server_id": None}


_LABELS = {
    "token": "Token",
    "username": "User name",
    "password": "Password",
    "username2": "Second user name",
    "password2": "Second password",
    "username_type": "Document type",
}


def form_message(name: str) -> str:
    """What the form of an institution, and Register, say about a value of the wrong form; invented."""
    return f"Invalid {_LABELS[name].lower()}"


def _form_field(institution: Institution, name: str) -> Mapping[str, JsonValue]:
    validation = BANK_FORM if institution.type == "bank" else r"^.{1,}$"
    if name == "token":
        validation = TOKEN_FORM
    form: dict[str, JsonValue] = {
        "name": name,
        "type": "password" if name.startswith("password") else "text",
        "label": _LABELS[name],
        "validation": validation,
        "validation_message": form_message(name),
        "placeholder": "",
    }
    if name == "token":
        form["optional"] = True
    if name == "username_type":
        form["type"] = "select"
        form["values"] = [
            {
                "code": code,
                "label": label,
                "validation": BANK_FORM,
                "validation_message": "Invalid user name",
                "placeholder": "",
            }
            for code, label in (("003", "Works"), ("999", "Is refused"))
        ]
    return form


_CORE = ("ACCOUNTS", "OWNERS", "TRANSACTIONS")
_ENRICHED = ("INCOMES", "RECURRING_EXPENSES", "RISK_INSIGHTS")
# Which resources each country's test banks support is told by examples only: Mexico's by the message of a
# refused registration, Colombia's by that of a refused refresh. Brazil has the rest of section 18.1 too.
_BANK_RESOURCES: Mapping[str, tuple[str, ...]] = {
    "mx": (*_CORE, *_ENRICHED),
    "co": _CORE,
    "br": (*_CORE, "BILLS", "INVESTMENTS", "INVESTMENT_TRANSACTIONS", *_ENRICHED),
}
_FISCAL = (
    "FINANCIAL_STATEMENTS",
    "INVOICES",
    "TAX_COMPLIANCE_STATUS",
    "TAX_RETENTIONS",
    "TAX_RETURNS",
    "TAX_STATUS",
)
_EMPLOYMENT = ("EMPLOYMENT_RECORDS", "OWNERS", "CURRENT_EMPLOYMENTS", "EMPLOYMENT_METRICS")


def _bank(number: int, name: str, display_name: str, *, mfa: bool = False, fields: tuple[str, ...] = ()) -> Institution:
    country = name.split("_")[1]
    return Institution(
        id=number,
        name=name,
        type="bank",
        display_name=display_name,
        country=country.upper(),
        resources=_BANK_RESOURCES[country],
        core=_CORE,
        fields=("username", "password", *fields),
        mfa=mfa,
        integration_type="openfinance" if name.startswith("ofmockbank") else "credentials",
    )


_IRON = ("username_type", "username2", "password2")
# Numbers from 9001 on are ours: the documents show none for those institutions.
INSTITUTIONS: Mapping[str, Institution] = {
    institution.name: institution
    for institution in (
        _bank(1001, "gringotts_mx_retail", "Gringotts Bank Mexico"),
        _bank(1002, "gringotts_co_retail", "Gringotts Bank Colombia"),
        _bank(1003, "gringotts_br_retail", "Gringotts Bank Brazil"),
        _bank(1004, "erebor_mx_retail", "Erebor Bank Mexico"),
        _bank(1005, "erebor_co_retail", "Erebor Bank Colombia"),
        _bank(1006, "erebor_br_retail", "Erebor Bank Brazil"),
        _bank(1014, "heimdall_mx_retail", "Heimdall Bank Mexico", mfa=True),
        _bank(1020, "heimdall_br_retail", "Heimdall Bank Brazil", mfa=True),
        _bank(1021, "heimdall_co_retail", "Heimdall Bank Colombia", mfa=True),
        _bank(9001, "gotham_mx_business", "Gotham Bank Mexico", mfa=True),
        _bank(9002, "gotham_co_business", "Gotham Bank Colombia", mfa=True),
        _bank(9003, "gotham_br_business", "Gotham Bank Brazil", mfa=True),
        _bank(9004, "ironbank_br_retail", "Iron Bank", fields=_IRON),
        _bank(9005, "ironbank_br_business", "Iron Bank Business", fields=_IRON),
        _bank(9006, "ofmockbank_br_retail", "Open Finance Mock Bank"),
        Institution(
            id=9007,
            name="planet_mx_employment",
            type="employment",
            display_name="Planet",
            country="MX",
            resources=_EMPLOYMENT,
            core=("EMPLOYMENT_RECORDS", "OWNERS"),
            fields=("username",),
        ),
        Institution(
            id=9008,
            name="tatooine_mx_fiscal",
            type="fiscal",
            display_name="Tatooine",
            country="MX",
            resources=_FISCAL,
            core=("INVOICES", "TAX_COMPLIANCE_STATUS", "TAX_RETURNS", "TAX_STATUS"),
        ),
    )
}
"""Every institution of the simulator, by name."""
