"""beartype as tests/conftest.py uses it."""

from typing import Self

from beartype import BeartypeConf, FrozenDict, beartype

# jaxtyping decorates methods one by one; beartype understands Self only where it decorates the whole class.
# An int is welcome where a float is expected (PEP 484).
check = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({Self: object})))
