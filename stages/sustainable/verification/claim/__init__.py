"""`make claim-X`: decide one claim on this machine."""
