"""The SQL statements by which claims are made. They are built once, because building one costs more than running it.

Each is about one search, the parameter ``search``. ``claims`` says in which order they lock what they touch.
"""

import functools
from typing import Any, Final

from sqlalchemy import Insert, Select, bindparam, case, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from tuningjob.journal.deaths import AFTER_A_LOSS, ALONE_FROM, LOST_FROM, dump_victims
from tuningjob.journal.schema import deaths, regions, searches, units

# The unfinished units that may have cells between two places of the walk.
NEAR: Final = (
    select(units.c.id, units.c.start, units.c.stop)
    .where(units.c.search_id == bindparam("search"), units.c.remaining > 0)
    .where(units.c.start <= bindparam("last"), units.c.stop > bindparam("first"))
    .order_by(units.c.id)
)

# Count down the cells that a unit still has to finish.
FINISHED: Final = (
    units.update()
    .where(units.c.search_id == bindparam("search"), units.c.id == bindparam("unit"))
    .values(
        remaining=units.c.remaining - bindparam("count"),
        # the lost cell is among them: the others of the unit get their chance, alone
        deaths=case((units.c.deaths >= LOST_FROM, ALONE_FROM), else_=units.c.deaths),
        victims=case((units.c.deaths >= LOST_FROM, dump_victims(AFTER_A_LOSS)), else_=units.c.victims),
    )
)

# Add to what the fits of a region have taken.
MEASURED: Final = (
    regions.update()
    .where(regions.c.search_id == bindparam("search"), regions.c.number == bindparam("region"))
    .values(
        seconds=regions.c.seconds + bindparam("more_seconds"),
        measured=regions.c.measured + bindparam("more"),
    )
)

# The unfinished units of one index.
OWN: Final = (
    select(units)
    .where(units.c.search_id == bindparam("search"), units.c.remaining > 0, units.c.holder == bindparam("index"))
    .order_by(units.c.id)
)

# One unit, locked, if it is still unfinished and still held by this index.
HELD_BY: Final = (
    select(units)
    .where(units.c.search_id == bindparam("search"), units.c.id == bindparam("unit"))
    .where(units.c.remaining > 0, units.c.holder == bindparam("index"))
    .with_for_update()
)

# The next released unit for a claimant with so much memory; units that need that much come first.
GIVEN_BACK: Final = (
    select(units)
    .where(units.c.search_id == bindparam("search"), units.c.remaining > 0, units.c.holder.is_(None))
    .where(or_(units.c.starved == 0, units.c.starved < bindparam("memory")))
    .order_by(units.c.starved.desc(), units.c.id)
    .limit(1)
)

# One region.
REGION: Final = select(regions).where(
    regions.c.search_id == bindparam("search"), regions.c.number == bindparam("region")
)

# Move the place at which the rest of a region begins.
TAKE: Final = (
    regions.update()
    .where(regions.c.search_id == bindparam("search"), regions.c.number == bindparam("region"))
    .values(next=bindparam("to"))
)

# Record a fresh unit, held by an index.
ADD_UNIT: Final = units.insert().values(
    search_id=bindparam("search"),
    id=bindparam("first"),
    start=bindparam("first"),
    stop=bindparam("to"),
    remaining=bindparam("count"),
    holder=bindparam("index"),
    claimant=bindparam("by"),
    memory=bindparam("bytes"),
    deaths=0,
)

# Count deaths, and raise the revision by which pollers see that a search has changed.
CHANGED: Final = (
    searches.update()
    .where(searches.c.id == bindparam("search"))
    .values(deaths=searches.c.deaths + bindparam("more_deaths"), revision=searches.c.revision + 1)
)

# The units that a range of indexes holds, locked.
LOCK_HELD: Final = (
    select(units.c.id)
    .where(units.c.search_id == bindparam("search"), units.c.remaining > 0)
    .where(units.c.holder.between(bindparam("first"), bindparam("last")))
    .order_by(units.c.id)
    .with_for_update()
)

# Release one unit.
FREE: Final = (
    units.update()
    .where(units.c.search_id == bindparam("search"), units.c.id == bindparam("unit"))
    .values(holder=None, claimant=None)
)

# How many deaths of a search are noted.
NOTED_DEATHS: Final = select(func.count()).select_from(deaths).where(deaths.c.search_id == bindparam("search"))

# Take a note of a death back.
FORGET_DEATH: Final = deaths.delete().where(
    deaths.c.search_id == bindparam("search"),
    deaths.c.unit == bindparam("unit_of"),
    deaths.c.claimant == bindparam("by"),
)

# The unfinished units that name a claimant, alive or dead.
SUSPECTS: Final = (
    select(units)
    .where(units.c.search_id == bindparam("search"), units.c.remaining > 0)
    .where(or_(units.c.claimant.is_not(None), units.c.victims.is_not(None)))
    .order_by(units.c.id)
)

# The preflight of a search.
FOUND: Final = select(searches.c.preflight).where(searches.c.id == bindparam("search"))

# All regions of a search, in order.
REGIONS: Final = select(regions).where(regions.c.search_id == bindparam("search")).order_by(regions.c.number)


@functools.cache
def note_death(dialect: str) -> Insert:
    """An insert that notes a claimant's death; a death that is noted already stays as it is."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return (
        insert(deaths)
        .values(
            search_id=bindparam("search"),
            unit=bindparam("unit_of"),
            claimant=bindparam("by"),
            holder=bindparam("index"),
            at=bindparam("now"),
        )
        .on_conflict_do_nothing()
    )


@functools.cache
def locking(statement: Select[Any], *, wait: bool) -> Select[Any]:
    """The statement with locks on its rows; ``wait`` for rows that another transaction has locked, else pass them by."""
    return statement.with_for_update(skip_locked=not wait)
