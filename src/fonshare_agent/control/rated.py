"""Says in the rows of a listing how their files are rated."""

from collections.abc import Sequence

from fonshare_agent.control import views
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.rows import JSON
from fonshare_agent.model import GroupId, Root

PAGE = 500  # rows in one go on the store thread


async def add_ratings(parts: Parts, rows: Sequence[JSON]) -> None:
    """Set `rating` in those of *rows* whose group has rated their content."""
    if not parts.ratings.are_there:
        return
    groups = parts.groups.labels()
    me = parts.keys.signer.node_id
    for at in range(0, len(rows), PAGE):
        rated: list[tuple[dict[str, JSON], tuple[GroupId, Root]]] = [
            (row, (groups[str(row["group"])], Root(bytes.fromhex(str(row["root"])))))
            for row in rows[at : at + PAGE]
            if isinstance(row, dict) and row["root"] and row["group"] in groups
        ]
        verdicts = await parts.store.run(
            parts.state.ratings.verdicts, [content for _, content in rated], me
        )
        for row, content in rated:
            if content in verdicts:
                row["rating"] = views.rating(verdicts[content])
