"""What tests and rehearsals may set about the sandbox's stores; the usual setup is quiet and generous."""

from dataclasses import dataclass, field

from services.sandbox.admin_api.buckets import Plan, Rate
from services.sandbox.news import Losses
from services.sandbox.stock import Sizes
from services.sandbox.weather import Weather


@dataclass(slots=True)
class Setup:
    """How much there is, how fast the API may be asked, and what goes wrong on the way."""

    sizes: Sizes = field(default_factory=Sizes)
    rate: Rate = Plan.STANDARD.value
    rates: dict[str, Rate] = field(default_factory=dict)  # of single shops
    api_weather: Weather = field(default_factory=Weather)
    api_weathers: dict[str, Weather] = field(default_factory=dict)  # of single shops
    bulk_weather: Weather = field(
        default_factory=Weather
    )  # any mishap of one operation ends it halfway; SLOW slows it
    losses: Losses = field(default_factory=Losses)  # of deliveries to subscriptions
