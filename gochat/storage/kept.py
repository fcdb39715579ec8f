"""Statements whose plans PostgreSQL keeps: each is a function in sql/reads.postgres.sql, generated from here.

Planning takes PostgreSQL two to five times as long as running such a statement. A PL/pgSQL function keeps its plans for
as long as the connection lasts, and needs no PREPARE, which a pooler of transactions would not pass on. SQLite plans in
microseconds, and Python keeps its statements.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from gochat.storage.dialect import for_postgres

_PARAMETER = re.compile(r"\?(\d+)")
# Of a statement that joins: every row is found by an index, in the order in which the statement is written. What the
# planner would rather do where it takes a table for small, or a page for large, is slower by far, and it would go on so
# for as long as the connection lasts. This costs 2 us a setting.
_BY_INDEX = "".join(
    f" SET {name} = {value}"
    for name, value in {
        "plan_cache_mode": "force_generic_plan",
        **dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_material"), "off"),
        "random_page_cost": "1",  # as if in memory
    }.items()
)


@dataclass(frozen=True)
class Kept:
    """text: in SQLite's dialect, with ?1, ?2, ... for the parameters. postgres: the same where it must differ by more
    than words. parameters, columns: their types in PostgreSQL. joins: it reads tables by what it finds in others.
    distributed: what a Citus cluster runs instead, in PL/pgSQL, with which the function is replaced there."""

    name: str
    text: str
    parameters: tuple[str, ...]
    columns: tuple[str, ...]
    postgres: str = ""
    joins: bool = False
    distributed: str = ""

    @cached_property
    def body(self) -> str:
        """As PostgreSQL has it, with $1, $2, ..."""
        return _PARAMETER.sub(r"$\1", for_postgres(self.postgres or self.text)).strip()

    @cached_property
    def function(self) -> str:
        """A change of the statement is another function, since programs of two versions may run side by side."""
        return f"{self.name}_{hashlib.sha256(self.body.encode()).hexdigest()[:8]}"

    @cached_property
    def call(self) -> str:
        return f"SELECT * FROM {self.function}({', '.join('?' * len(self.parameters))})"  # noqa: S608 - all constants

    def call_each(self, number: int) -> str:
        """Calls it so many times. The first column of a row is the index of the call, from 0 on."""
        names = [f"value_{index}" for index in range(len(self.parameters))]
        row = f"({', '.join('?' * (len(names) + 1))})"
        values = f"(VALUES {', '.join([row] * number)}) AS wanted (number, {', '.join(names)})"
        called = f"{self.function}({', '.join(f'wanted.{name}' for name in names)})"
        return f"SELECT wanted.number, found.* FROM {values} CROSS JOIN LATERAL {called} AS found"  # noqa: S608 - as above

    @cached_property
    def definition(self) -> str:
        return self._defined(f"BEGIN\nRETURN QUERY\n{self.body};\nEND", _BY_INDEX if self.joins else "")

    @cached_property
    def distributed_definition(self) -> str:
        return self._defined(_PARAMETER.sub(r"$\1", for_postgres(self.distributed)).strip(), "")

    def _defined(self, body: str, settings: str) -> str:
        columns = ", ".join(f"column_{number} {kind}" for number, kind in enumerate(self.columns, 1))
        return f"""CREATE OR REPLACE FUNCTION {self.function}({", ".join(self.parameters)})
RETURNS TABLE ({columns})
LANGUAGE plpgsql STABLE{settings} AS $$
{body}
$$;
"""
