"""Every way in which RabbitMQ fails has one name, and none of them tells a password."""

import asyncio

import pytest
from aiormq.exceptions import (
    AMQPConnectionError,
    AMQPError,
    ChannelAccessRefused,
    ChannelClosed,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ConnectionClosed,
    DeliveryError,
    ProbableAuthenticationError,
)
from pamqp.commands import Basic

from libs.common.bus.errors import PublishFailure, named
from libs.common.bus.link import BrokerOptions
from libs.common.errors import BrokerAway, ConfigurationError
from libs.common.settings import CommonSettings
from tests.environment import MakeSettings


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (DeliveryError(None, Basic.Nack()), PublishFailure.NACKED),
        (ChannelAccessRefused("no"), PublishFailure.CLOSED),
        (ChannelNotFoundEntity("no queue"), PublishFailure.CLOSED),
        (ChannelClosed(None, None), PublishFailure.CLOSED),
        (ChannelInvalidStateError("closed"), PublishFailure.CONNECTION),
        (TimeoutError(), PublishFailure.TIMEOUT),
        (AMQPConnectionError("refused"), PublishFailure.CONNECTION),
        (ConnectionClosed(320, "CONNECTION_FORCED"), PublishFailure.CONNECTION),
        (ProbableAuthenticationError("ACCESS_REFUSED"), PublishFailure.CONNECTION),
        (ConnectionResetError(104, "reset"), PublishFailure.CONNECTION),
        (asyncio.CancelledError(), PublishFailure.CONNECTION),
        (AMQPError("?"), PublishFailure.CONNECTION),
    ],
    ids=repr,
)
def test_each_error_of_the_libraries_has_a_cause(error: BaseException, cause: PublishFailure) -> None:
    meaning = named(error)
    assert isinstance(meaning, BrokerAway)
    assert meaning.cause is cause


@pytest.mark.parametrize("error", [ValueError("ours"), KeyError("ours"), AssertionError()], ids=repr)
def test_a_mistake_of_ours_is_not_blamed_on_rabbitmq(error: Exception) -> None:
    assert named(error) is None


@pytest.mark.parametrize(
    "url", ["amqp://me:hunter2#@host", "http://me:hunter2@host", "hunter2", "amqp://me:hunter2@h:x"]
)
def test_a_wrong_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="RABBITMQ_URL") as caught:
        BrokerOptions(url, "webhooks")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None or "hunter2" not in str(caught.value.__context__)


def test_options_do_not_show_the_password() -> None:
    assert "hunter2" not in repr(BrokerOptions("amqp://me:hunter2@127.0.0.1/", "webhooks"))


def test_options_follow_the_settings(settings: MakeSettings) -> None:
    made = settings(
        CommonSettings,
        rabbitmq_url="amqp://me:hunter2@127.0.0.1/",
        broker_heartbeat_seconds=7,
        broker_connect_seconds=1.5,
        broker_confirm_seconds=0.25,
    )
    options = BrokerOptions.of(made, "webhooks")
    assert (options.heartbeat_seconds, options.connect_seconds, options.confirm_seconds) == (7, 1.5, 0.25)


def test_a_service_without_a_broker_has_no_options(settings: MakeSettings) -> None:
    with pytest.raises(ConfigurationError, match="RABBITMQ_URL"):
        BrokerOptions.of(settings(CommonSettings), "webhooks")
