"""What each activity returns, and which payments are declined."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

import activities
from shared import Order
from tests.helpers import RESULTS, new_order


@pytest.fixture(autouse=True)
def _no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities, "SIMULATED_LATENCY_SECONDS", 0)


def pay(order: Order, scheduled: str = "2030-06-15 12:00:00") -> str:
    """Run the payment as if scheduled at a UTC time and attempted 40 days later."""
    environment = ActivityEnvironment()
    time = datetime.fromisoformat(scheduled).replace(tzinfo=UTC)
    info, later = environment.info, time + timedelta(days=40)
    environment.info = dataclasses.replace(info, scheduled_time=time, started_time=later, attempt=2)
    result: str = environment.run(activities.process_payment, order)
    return result


@pytest.mark.parametrize("step", RESULTS)
def test_activity_returns_what_its_stub_returns(step: str) -> None:
    assert ActivityEnvironment().run(getattr(activities, step), new_order()) == RESULTS[step]


@pytest.mark.parametrize(
    ("quantity", "price", "total"),
    [(1, "0.01", "$0.01"), (999, "999999.99", "$998999990.01")],
)
def test_total_is_exact_to_the_cent(quantity: int, price: str, total: str) -> None:
    assert pay(new_order(quantity=quantity, price=price)) == f"authorized {total}"


@pytest.mark.parametrize(
    ("cc_expiry", "last_second", "next_second"),
    [
        ("09/30", "2030-09-30 23:59:59", "2030-10-01 00:00:00"),
        ("12/29", "2029-12-31 23:59:59", "2030-01-01 00:00:00"),
        ("01/30", "2029-12-31 23:59:59", "2030-12-01 00:00:00"),
        ("12/99", "2099-12-31 23:59:59", "2100-01-01 00:00:00"),
    ],
)
def test_expired_card_is_declined_and_not_retried(
    cc_expiry: str, last_second: str, next_second: str
) -> None:
    assert pay(new_order(cc_expiry=cc_expiry), last_second) == "authorized $39.98"
    with pytest.raises(ApplicationError) as declined:
        pay(new_order(cc_expiry=cc_expiry), next_second)
    assert declined.value.type == "CreditCardExpired"
    assert declined.value.message == "credit card expired"
    assert declined.value.non_retryable


BAD_EXPIRIES = ["", "13/30", "00/30", "1/30", "12-30", "1230", "12/2030", "12/3", "30/12", "-1/30"]
BAD_EXPIRIES += [" 12/30", "12/30 ", "12/30\n", "1２/30", "12/3０"]  # noqa: RUF001  full-width digits
BAD_PRICES = ["", "19", "19.9", "19.999", "19,99", "$19.99", ".99", "19.", "1e3", "-1.00", "+1.00"]
BAD_PRICES += ["NaN", "Infinity", "1_0.00", " 19.99", "19.99\n", "19x99", "1９.99", "19.9９"]  # noqa: RUF001
BAD_PRICES += ["1000000.00", "9" * 40 + ".00"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        *[("cc_expiry", bad, "cc_expiry must be MM/YY") for bad in BAD_EXPIRIES],
        *[("price", bad, "price must have two decimals, 0.00 to 999999.99") for bad in BAD_PRICES],
        *[("quantity", bad, "quantity must be 1 to 999") for bad in (0, -1, 1000, 10**30)],
    ],
)
def test_invalid_order_names_its_field_and_is_not_retried(
    field: str, value: Any, message: str
) -> None:
    with pytest.raises(ApplicationError) as declined:
        pay(new_order(**{field: value}))
    assert declined.value.type == "InvalidOrder"
    assert declined.value.message == message
    assert declined.value.non_retryable
