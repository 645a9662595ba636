"""beartype as tests/conftest.py uses it."""

from typing import Self

from beartype import BeartypeConf, FrozenDict, beartype

# jaxtyping decorates methods one by one; beartype understands Self only where it decorates the whole class.
check = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: object})))
