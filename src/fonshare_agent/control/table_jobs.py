"""The table's rows about jobs."""

from fonshare_agent.control.rows import Access, Argument, Command
from fonshare_agent.control.table_words import JOB_ANSWER

JOB = Argument("id", "the job's id, as `fonshare jobs` shows it")

JOBS = Argument("id", "the job's id, as `fonshare jobs` shows it, or `all`")

JOB_COMMANDS = (
    Command(
        "jobs",
        "list the jobs",
        "jobs",
        answer=f"{JOB_ANSWER}; of those done or cancelled the last 100, failed ones "
        "until they are taken off",
    ),
    Command(
        "jobs first",
        "put a job before all others, now and after a restart",
        "jobs first 3",
        answer=JOB_ANSWER,
        arguments=(JOB,),
        access=Access.WRITE,
    ),
    Command(
        "jobs last",
        "put a job behind all others that there are",
        "jobs last 3",
        answer=JOB_ANSWER,
        arguments=(JOB,),
        access=Access.WRITE,
    ),
    Command(
        "jobs pause",
        "let a job rest",
        "jobs pause all",
        answer=JOB_ANSWER,
        arguments=(JOBS,),
        access=Access.WRITE,
    ),
    Command(
        "jobs resume",
        "let a paused or failed job go on; `all` lets all paused ones",
        "jobs resume 3",
        answer=JOB_ANSWER,
        arguments=(JOBS,),
        access=Access.WRITE,
    ),
    Command(
        "jobs cancel",
        "give a job up and delete what it has fetched of it",
        "jobs cancel 3",
        answer=JOB_ANSWER,
        arguments=(JOB,),
        access=Access.WRITE,
    ),
    Command(
        "jobs rm",
        "take an ended job off the list; `all` takes all that are done or cancelled",
        "jobs rm all",
        answer="as of `jobs`, the jobs taken off",
        arguments=(JOBS,),
        access=Access.WRITE,
    ),
)
