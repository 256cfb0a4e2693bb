"""What each activity returns, and which payments are declined."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import process_payment
from shared import Order
from tests.helpers import ACTIVITIES, new_order

pytestmark = pytest.mark.usefixtures("_no_latency")


def pay(order: Order, scheduled: str = "2030-06-15 12:00:00") -> str:
    """Run the payment as scheduled at a UTC time. The attempt itself starts much later."""
    environment = ActivityEnvironment()
    time = datetime.fromisoformat(scheduled).replace(tzinfo=UTC)
    later = time + timedelta(days=40)
    environment.info = dataclasses.replace(
        environment.info, scheduled_time=time, started_time=later, attempt=2
    )
    result: str = environment.run(process_payment, order)
    return result


def test_results() -> None:
    results = [ActivityEnvironment().run(step, new_order()) for step in ACTIVITIES]
    assert results == ["authorized $39.98", "reserved 2 x Temporal mug", "delivered"]


@pytest.mark.parametrize(
    ("quantity", "price", "total"),
    [
        (1, "0.01", "$0.01"),
        (3, "0.05", "$0.15"),
        (10, "0.10", "$1.00"),
        (7, "19.99", "$139.93"),
        (999_999, "123456789.99", "$123456666533210.01"),
    ],
)
def test_total_is_exact_to_the_cent(quantity: int, price: str, total: str) -> None:
    assert pay(new_order(quantity=quantity, price=price)) == f"authorized {total}"


@pytest.mark.parametrize(
    ("cc_expiry", "last_second", "next_second"),
    [
        ("09/30", "2030-09-30 23:59:59", "2030-10-01 00:00:00"),
        ("02/28", "2028-02-29 23:59:59", "2028-03-01 00:00:00"),
        ("12/29", "2029-12-31 23:59:59", "2030-01-01 00:00:00"),
        ("01/30", "2029-12-31 23:59:59", "2030-12-01 00:00:00"),
        ("12/99", "2099-12-31 23:59:59", "2100-01-01 00:00:00"),
    ],
)
def test_card_expires_after_its_month_without_retry(
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


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        *[("cc_expiry", value, "cc_expiry must be MM/YY") for value in BAD_EXPIRIES],
        *[("price", value, "price must be like 19.99") for value in BAD_PRICES],
        *[("quantity", value, "quantity must be >= 1") for value in (0, -1)],
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
