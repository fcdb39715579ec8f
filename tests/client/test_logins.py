"""Signing in without a password, with the Python client."""

import pytest

from gochat.client import ChatError, Client
from tests.conftest import Own
from tests.harness import PASSWORD, fresh
from tests.issuing import SHARED_LOGIN, exchangeable


def test_a_client_signs_in_by_a_token_and_stays(own: Own) -> None:
    app = own(env={**SHARED_LOGIN, "GOCHAT_AUTH_ACCESS_TTL": "1"})
    with Client(app.address) as client:
        user_id = client.sign_in_with(exchangeable(sub="customer-1", name=fresh()))
        assert client.profile().user_id == user_id
        with Client(app.address) as other:
            assert other.sign_in_with(exchangeable(sub="customer-1")) == user_id
            with pytest.raises(ChatError) as error:
                other.sign_in_with(exchangeable(aud="other"))
            assert error.value.reason == "BAD_EXTERNAL_TOKEN"
            assert other.profile().user_id == user_id


def test_a_guest_claims_an_account(own: Own) -> None:
    app, name = own(env={"GOCHAT_AUTH_GUESTS": "on"}), fresh("gus")
    with Client(app.address) as guest:
        user_id = guest.sign_in_as_guest("Gus")
        guest.claim_account(name, PASSWORD)
        assert (guest.user_id, guest.profile().nickname) == (user_id, "Gus")
    with Client(app.address, username=name, password=PASSWORD) as client:
        assert client.profile().user_id == user_id
