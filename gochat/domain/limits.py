"""The limits and defaults of request fields, and the sets of words that some may hold."""

from gochat.api.common.v1.common_pb2 import PaginationRequest

MESSAGE_TYPES = ("text", "image", "file", "audio", "video", "location", "system", "custom")
MAX_IMPORTED = 500  # messages of one ImportMessages
MAX_BATCH = 1_000  # items of a list; of message ids MAX_LONG_PAGE
MIN_PASSWORD = 8  # characters
DEFAULT_MAX_MEMBERS = 500
MAX_MEMBERS = 100_000  # the largest max_members of a group
DEFAULT_PAGE, MAX_PAGE = 20, 100
# History and members: 200 of the largest messages are just within the 4 MiB that gRPC clients take by default.
DEFAULT_LONG_PAGE, MAX_LONG_PAGE = 50, 200
DEFAULT_STATES, MAX_STATES = 100, 500  # conversations of a page of GetState
MAX_ACKNOWLEDGED = 100  # messages of one Acknowledge
MAX_MENTIONS = 100  # users of one message
MAX_REACTIONS = 50  # kinds on a message
MAX_PINS = 100  # messages of a conversation
MAX_TYPING_MEMBERS = 100  # of a conversation that shows who types
MAX_WATCHED = 200  # users whose presence a stream shows

MAX_PINNED = 100  # conversations of a user
MAX_RECEIPTS = 1_000  # members of a group in which it is known who has received and read what
MAX_ANNOUNCED = 1_000  # members of a group in which all are pushed who comes and goes
MAX_NOTIFIED = 1_000  # members of a group who are notified of each message, and not only of those that mention them
MAX_EXTERNAL_TOKEN = 16 * 1024  # bytes of a token of another login


def page_of(pagination: PaginationRequest, default: int = DEFAULT_PAGE) -> tuple[int, int]:
    """(page, limit) as applied, from a checked request."""
    return pagination.page or 1, pagination.limit or default
