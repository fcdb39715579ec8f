"""Push tokens, with the Python client."""

import pytest

from gochat.client import ChatError, Client
from tests.harness import PASSWORD, Deployment


@pytest.mark.parametrize("mode", ["sqlite-colocated"], indirect=True, scope="session")
def test_a_client_registers_its_device(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    with Client(app.address, username=person.username, password=PASSWORD, device_id="phone") as client:
        registered = client.register_push_token("fcm", "a-token")
        assert (registered.device_id, [each.token for each in client.push_tokens()]) == ("phone", ["a-token"])
        client.unregister_push_token("fcm", "a-token")
        assert not client.push_tokens()
        with pytest.raises(ChatError) as error:
            client.register_push_token("webpush", "https://push.example.com/x")
        assert error.value.fields == {"p256dh": "must not be empty"}
        assert len(client.web_push_key()) == 87
