"""Why a copy, a backup or a restore was not made."""


class BackupError(Exception):
    """`code` is for programs, `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
