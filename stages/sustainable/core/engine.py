"""Where cells run: the environment variable `SUSTAINABLE_ENGINE`.

It is no parameter of the pipeline, because no result depends on it: DVC runs nothing again when it changes.
"""

import os

from sustainable.core.errors import UserError

ENGINE = "SUSTAINABLE_ENGINE"
LOCAL, RAY = "local", "ray"


def chosen_engine() -> str:
    """Return `local` (the default) or `ray`; raises `UserError` for another value."""
    engine = os.environ.get(ENGINE) or LOCAL
    if engine not in (LOCAL, RAY):
        raise UserError(f"{ENGINE}={engine}: unknown engine; choose {LOCAL} or {RAY}")
    return engine


def has_nodes() -> bool:
    """Return whether cells may run on other machines: those of the cluster at `RAY_ADDRESS`.

    A cluster that is started here has only this one, and Ray's own processes would disturb measurements.
    """
    return chosen_engine() == RAY and os.environ.get("RAY_ADDRESS", LOCAL) not in ("", LOCAL)
