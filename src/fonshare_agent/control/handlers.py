"""The methods behind the command table, one a command, gathered from their themes."""

from fonshare_agent.control.file_handlers import FileHandlers
from fonshare_agent.control.group_handlers import GroupHandlers
from fonshare_agent.control.node_handlers import NodeHandlers
from fonshare_agent.control.parts import Parts
from fonshare_agent.control.search_handlers import SearchHandlers


class Handlers(NodeHandlers, GroupHandlers, FileHandlers, SearchHandlers):
    """Everything the control socket can ask of a running node."""

    def __init__(self, parts: Parts, home_broker: str) -> None:
        NodeHandlers.__init__(self, parts)
        GroupHandlers.__init__(self, parts, home_broker)
        FileHandlers.__init__(self, parts)
        SearchHandlers.__init__(self, parts)
