"""The table's rows about ratings."""

from fonshare_agent.control.rows import Access, Argument, Command, Kind
from fonshare_agent.control.table_words import ENTRY_ANSWER, LIMIT

RATING_COMMANDS = (
    Command(
        "rate",
        "rate a file, for all members of its group to see",
        "rate Famille/bob/Films/Metropolis.mkv 5",
        answer=f"{ENTRY_ANSWER}; one row",
        arguments=(
            Argument(
                "entry", "a file: an id, or GROUP/MEMBER/SHARE/PATH", shown="ENTRY"
            ),
            Argument(
                "stars",
                "from 1 to 5; 0 takes the rating back",
                Kind.INTEGER,
                maximum=5,
                shown="0|1|2|3|4|5",
            ),
        ),
        access=Access.WRITE,
    ),
    Command(
        "rate ls",
        "list what is rated and offered, the best first",
        "rate ls Famille",
        answer=f"{ENTRY_ANSWER}, of files; by average, then by how many have rated",
        arguments=(
            Argument("group", "only of this group", optional=True, shown="GROUP"),
        ),
        flags=(LIMIT,),
    ),
)
