"""What `cryptography` raises for bytes that it can't read as a certificate or a key.

Half of these are no ValueError; and it reads most of a certificate only when that is asked for, so each use can raise them.
"""

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
