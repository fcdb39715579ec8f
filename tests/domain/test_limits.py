"""What a request gets that does not say how much."""

from gochat.api.common.v1.common_pb2 import PaginationRequest
from gochat.domain import limits


def test_pages_have_defaults() -> None:
    assert limits.page_of(PaginationRequest()) == (1, 20)
    assert limits.page_of(PaginationRequest(page=3, limit=7)) == (3, 7)
    assert limits.page_of(PaginationRequest(), limits.DEFAULT_LONG_PAGE) == (1, 50)
